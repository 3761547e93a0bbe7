import { PRODUCTS } from '../exchange/products.ts'

/** US dollars for one unit. */
export const USD_RATES: Readonly<Record<string, number>> = {
  USD: 1,
  EUR: 1.16,
  GBP: 1.32,
  JPY: 0.00646,
  CHF: 1.25,
  CAD: 0.715,
  AUD: 0.652,
  NZD: 0.568,
  SEK: 0.106,
  NOK: 0.0985,
  DKK: 0.155,
  PLN: 0.273,
  CZK: 0.048,
  HUF: 0.003,
  TRY: 0.0238,
  ZAR: 0.0577,
  ILS: 0.306,
  MXN: 0.0543,
  BRL: 0.187,
  CNY: 0.1404,
  HKD: 0.1285,
  SGD: 0.768,
  KRW: 0.00069,
  TWD: 0.0321,
  INR: 0.0113,
  THB: 0.0308,
  IDR: 0.0000598,
  PHP: 0.017,
  MYR: 0.2415,
  VND: 0.0000379,
  AED: 0.2723,
  SAR: 0.2667,
  QAR: 0.2747,
  KWD: 3.26,
  EGP: 0.021,
  RON: 0.228,
  BGN: 0.593,
  ISK: 0.0079,
  RUB: 0.0124,
  UAH: 0.0237,
  CLP: 0.00107,
  COP: 0.000262,
  PEN: 0.296,
  ARS: 0.00069,
  CNH: 0.1406,
  XAU: 4_070,
  XAG: 49.8,
  GBp: 0.0132,
  ZAc: 0.000577,
  ILA: 0.00306,
}

/** Coins and about what one costs, US dollars; those that the simulated exchange has cost what they cost there. */
export const COIN_PRICES_USD: Readonly<Record<string, number>> = {
  USDC: 1,
  XMR: 330,
  ...Object.fromEntries(
    PRODUCTS.filter(({ id }) => id.endsWith('-USD')).map(({ id, price }) => [id.slice(0, id.indexOf('-')), price]),
  ),
}

/** About what some of them cost, in the currency that they trade in. */
export const PRICE_LEVELS: Readonly<Record<string, number>> = {
  AAPL: 272,
  MSFT: 478,
  NVDA: 181,
  GOOGL: 298,
  GOOG: 299,
  AMZN: 221,
  META: 594,
  TSLA: 396,
  NFLX: 106,
  'BRK-B': 503,
  'BRK-A': 754_000,
  SPY: 659,
  QQQ: 590,
  VTI: 324,
  'LDO.MI': 47,
  'SHEL.L': 2_790,
  'VOD.L': 91,
  'SHEL.AS': 31.6,
  'SAP.DE': 206,
  '7203.T': 3_140,
  '^GSPC': 6_603,
  '^DJI': 46_245,
  '^IXIC': 22_273,
  '^FTSE': 9_540,
  '^GDAXI': 23_092,
  '^N225': 48_626,
  '^STOXX50E': 5_515,
  '^VIX': 23,
  '^TNX': 4.06,
  '^RUT': 2_369,
  '^HSI': 25_220,
  '^FCHI': 7_982,
  'DX-Y.NYB': 100.2,
  'ES=F': 6_620,
  'NQ=F': 24_310,
  'BTC=F': 65_300,
  'HG=F': 5.02,
  'NG=F': 4.58,
  'GC=F': 4_079,
  'SI=F': 49.9,
  'CL=F': 58.1,
}

/** Whose suffix an index would have; the others are American. */
export const INDEX_VENUES: Readonly<Record<string, string>> = {
  '^FTSE': 'L',
  '^FTMC': 'L',
  '^GDAXI': 'DE',
  '^MDAXI': 'DE',
  '^TECDAX': 'DE',
  '^STOXX': 'DE',
  '^STOXX50E': 'DE',
  '^FCHI': 'PA',
  '^N100': 'PA',
  '^AEX': 'AS',
  '^BFX': 'BR',
  '^IBEX': 'MC',
  '^SSMI': 'SW',
  '^ATX': 'VI',
  '^OMX': 'ST',
  '^GSPTSE': 'TO',
  '^MXX': 'MX',
  '^BVSP': 'SA',
  '^N225': 'T',
  '^HSI': 'HK',
  '^HSCE': 'HK',
  '^TWII': 'TW',
  '^KS11': 'KS',
  '^STI': 'SI',
  '^NSEI': 'NS',
  '^BSESN': 'BO',
  '^AXJO': 'AX',
  '^NZ50': 'NZ',
}

/** Instruments in another currency than their market's. */
export const CURRENCY_OVERRIDES: Readonly<Record<string, string>> = Object.fromEntries(
  ['CSPX.L', 'IWDA.L', 'EIMI.L', 'VUAA.L', 'VWRA.L', 'VWRD.L', 'CNDX.L', 'IUIT.L', 'IGLN.L'].map((id) => [id, 'USD']),
)

/** The names of some of them. */
export const NAMES: Readonly<Record<string, string>> = {
  AAPL: 'Apple Inc.',
  MSFT: 'Microsoft Corporation',
  NVDA: 'NVIDIA Corporation',
  GOOGL: 'Alphabet Inc.',
  GOOG: 'Alphabet Inc.',
  AMZN: 'Amazon.com, Inc.',
  META: 'Meta Platforms, Inc.',
  TSLA: 'Tesla, Inc.',
  NFLX: 'Netflix, Inc.',
  'SHEL.L': 'Shell plc',
  'SHEL.AS': 'Shell plc',
  'LDO.MI': 'Leonardo S.p.a.',
  SPY: 'SPDR S&P 500 ETF Trust',
  QQQ: 'Invesco QQQ Trust',
  '^GSPC': 'S&P 500',
  'GC=F': 'Gold',
}

/** Splits as they were. */
export const SPLITS: Readonly<Record<string, readonly (readonly [string, number, number])[]>> = {
  AAPL: [
    ['2005-02-28', 2, 1],
    ['2014-06-09', 7, 1],
    ['2020-08-31', 4, 1],
  ],
  TSLA: [
    ['2020-08-31', 5, 1],
    ['2022-08-25', 3, 1],
  ],
  NVDA: [
    ['2021-07-20', 4, 1],
    ['2024-06-10', 10, 1],
  ],
  AMZN: [['2022-06-06', 20, 1]],
  GOOGL: [['2022-07-18', 20, 1]],
  GOOG: [['2022-07-18', 20, 1]],
  NFLX: [
    ['2015-07-15', 7, 1],
    ['2025-11-17', 10, 1],
  ],
  GE: [['2021-08-02', 1, 8]],
  MSFT: [],
}

/** The first days of young instruments, and of old ones where a test needs it. */
export const FIRST_DATES: Readonly<Record<string, string>> = {
  AAPL: '2000-01-03',
  MSFT: '2000-01-03',
  META: '2012-05-18',
  TSLA: '2010-06-29',
  ABNB: '2020-12-10',
  COIN: '2021-04-14',
  ARM: '2023-09-14',
  RDDT: '2024-03-21',
}

/** Symbols by which funds are traded on exchanges; whatever else has no other look is a stock. */
export const ETFS = new Set(
  `SPY QQQ VTI VOO IVV VEA VWO IEFA IEMG AGG BND GLD SLV IWM IWF IWD IJH IJR VUG VTV VIG VYM SCHD SCHX SCHB SCHF DIA XLK
  XLF XLE XLV XLI XLY XLP XLU XLB XLRE XLC TLT IEF SHY LQD HYG EEM EFA ARKK SMH SOXX VNQ VGT VXUS BIL TIP RSP MDY USO UNG
  IBIT FBTC GBTC ETHA JEPI JEPQ TQQQ SQQQ SOXL COWZ DGRO QUAL MTUM USMV ACWI VT ITOT IXUS VB VO VBR VHT VDE VFH
  QQQM VGK EWJ EWG EWU EWZ INDA FXI MCHI BNDX SHV SGOV MUB EMB IAU DBC BITO NOBL SCHG XBI GDX VWCE.DE EUNL.DE SXR8.DE VWRL.AS`.split(
    /\s+/,
  ),
)

/** Stocks that pay dividends, or do not, whatever their seed says. */
export const DIVIDEND_PAYERS = new Set(['AAPL', 'MSFT', 'NVDA', 'GE', 'SHEL.L', 'SHEL.AS', 'VOD.L'])
export const NON_PAYERS = new Set(['AMZN', 'TSLA', 'NFLX', 'BRK-A', 'BRK-B'])
