import type { Activity, Split } from '../../src/portfolio/activity.ts'
import type { LotView, PortfolioPrice, Position, Totals } from '../../src/protocol/portfolio.ts'

/**
 * A portfolio of twelve lots in three currencies, valued in euros, with every figure calculated by hand: partial sales, fees,
 * a dividend, a split that the market reports and the user has entered, too, a position that was closed and reopened, a
 * short one, one of transfers in and out, crypto bought on the day of its price, a custom asset without a price, and
 * a future purchase. Tests compare the database, the objects and the browser with the same table.
 */
export const CURRENCY = 'EUR'
export const CABIN = { symbol: 'CABIN', name: 'A cabin by the lake', currency: 'CHF' }

/** The id of an activity, by its name in this file. */
export const idOf = (name: string): string => `00000000-0000-4000-8000-0000000000${name.toLowerCase()}`

type TradeRow = [name: string, kind: Activity['kind'], symbol: string, quantity: string, price: string, fees: string]
const TRADES: [...TradeRow, currency: string, traded_at: string][] = [
  ['a1', 'buy', 'AAPL', '10', '200', '1.5', 'USD', '2025-01-10T15:00:00Z'],
  ['a2', 'buy', 'AAPL', '5.5', '220.1', '1', 'USD', '2025-02-10T15:00:00Z'],
  ['ab', 'split', 'AAPL', '0', '0', '0', 'USD', '2025-03-05T00:00:00Z'],
  ['a3', 'buy', 'AAPL', '8', '61.25', '0', 'USD', '2025-04-10T15:00:00Z'],
  ['a4', 'sell', 'AAPL', '50', '70', '2', 'USD', '2025-05-12T15:00:00Z'],
  ['a5', 'buy', 'AAPL', '1000', '1', '0', 'USD', '2999-01-01T00:00:00Z'],
  ['b1', 'buy', 'SAP.DE', '20', '100', '5', 'EUR', '2025-01-15T10:00:00Z'],
  ['ba', 'dividend', 'SAP.DE', '20', '1.1', '5.8', 'EUR', '2025-02-03T00:00:00Z'],
  ['b3', 'sell', 'SAP.DE', '20', '112.5', '5.95', 'EUR', '2025-02-20T10:00:00Z'],
  ['b2', 'buy', 'SAP.DE', '12', '95.4', '4.9', 'EUR', '2025-06-02T10:00:00Z'],
  ['c1', 'buy', 'NESN.SW', '30', '80', '9', 'CHF', '2025-01-20T10:00:00Z'],
  ['c2', 'buy', 'NESN.SW', '15', '85.5', '9', 'CHF', '2025-02-14T10:00:00Z'],
  ['c3', 'sell', 'NESN.SW', '10', '90.2', '9', 'CHF', '2025-07-01T10:00:00Z'],
  ['d1', 'sell', 'MSFT', '4', '400.5', '1.2', 'USD', '2025-03-20T15:00:00Z'],
  ['d2', 'buy', 'MSFT', '1', '380', '0.7', 'USD', '2025-04-22T15:00:00Z'],
  ['e1', 'buy', 'BTC', '0.12345678', '60000.5', '12.34', 'USD', '2025-01-31T03:00:00Z'],
  ['e3', 'sell', 'BTC', '0.02345678', '70123.45', '1', 'USD', '2025-03-31T03:00:00Z'],
  ['e2', 'buy', 'BTC', '0.05', '65000', '3.21', 'USD', '2025-09-01T03:00:00Z'],
  ['f1', 'buy', 'CABIN', '1', '25000', '150', 'CHF', '2025-01-02T12:00:00Z'],
  ['a6', 'transfer_in', 'ASML.AS', '10', '50', '3', 'EUR', '2025-02-17T12:00:00Z'],
  ['a7', 'transfer_out', 'ASML.AS', '4', '55', '2', 'EUR', '2025-06-17T12:00:00Z'],
  ['0a', 'fee', '', '1', '12', '1.5', 'EUR', '2025-06-30T12:00:00Z'],
  ['0b', 'interest', '', '1', '3.21', '0', 'USD', '2025-06-30T12:00:00Z'],
  ['0c', 'tax', '', '1', '7.4', '0', 'EUR', '2025-06-30T12:00:00Z'],
]

/** All activities. @param assetId returns the id of a symbol of this file; CABIN's is below 0 */
export const activities = (assetId: (symbol: string) => number): Activity[] =>
  TRADES.map(([name, kind, symbol, quantity, price, fees, currency, traded_at]) => ({
    id: idOf(name),
    kind,
    asset_id: symbol === '' ? null : assetId(symbol),
    quantity,
    price,
    fees,
    currency,
    traded_at,
    split: kind === 'split' ? { numerator: '4', denominator: '1' } : null,
    lots:
      name === 'c3'
        ? [
            { lot_id: idOf('c2'), quantity: '7' },
            { lot_id: idOf('c1'), quantity: '3' },
          ]
        : null,
    note: null,
    short: name === 'd1',
  }))

/** The market's assets, by symbol. */
export const SPLITS: Record<string, Split[]> = {
  AAPL: [{ ex_date: '2025-03-03', numerator: '4', denominator: '1' }],
}

/** Exchange rates to US dollars on the days of activities. */
export const DAY_RATES: Record<string, Record<string, string>> = {
  EUR: {
    '2025-01-02': '1.0266',
    '2025-01-10': '1.0245',
    '2025-01-20': '1.0416',
    '2025-01-31': '1.0362',
    '2025-02-10': '1.0306',
    '2025-02-14': '1.0491',
    '2025-03-20': '1.0853',
    '2025-03-31': '1.0816',
    '2025-04-10': '1.1203',
    '2025-04-22': '1.1422',
    '2025-05-12': '1.1089',
    '2025-06-30': '1.1787',
    '2025-07-01': '1.1806',
    '2025-09-01': '1.1711',
  },
  CHF: {
    '2025-01-02': '1.0966',
    '2025-01-20': '1.1027',
    '2025-02-14': '1.1123',
    '2025-07-01': '1.2636',
  },
}

const AS_OF = '2025-09-01T15:30:00Z'
type PriceRow = [
  symbol: string,
  currency: string,
  price: string,
  previous: string,
  eps: string | null,
  pe: string | null,
]
const PRICES: PriceRow[] = [
  ['AAPL', 'USD', '65.5', '64.8', '6.5', '10.0769'],
  ['SAP.DE', 'EUR', '101.25', '102.5', '-2.1', '-48.2143'],
  ['NESN.SW', 'CHF', '88.14', '87.9', null, null],
  ['MSFT', 'USD', '410.25', '405', '12', '34.1875'],
  ['BTC', 'USD', '64321.5', '63000.25', null, null],
  ['ASML.AS', 'EUR', '55.5', '54', null, null],
  ['EURUSD=X', 'USD', '1.1725', '1.17', null, null],
  ['CHFUSD=X', 'USD', '1.2505', '1.25', null, null],
]

/** The current prices, including the rates of euro and franc in US dollars. */
export const prices = (assetId: (symbol: string) => number): PortfolioPrice[] =>
  PRICES.map(([symbol, currency, price, previous_close, eps, pe_ratio]) => ({
    asset_id: assetId(symbol),
    symbol,
    price,
    currency,
    previous_close,
    change24h: null,
    eps,
    pe_ratio,
    pe_as_of: pe_ratio === null ? null : AS_OF,
    market_state: 'open',
    as_of: AS_OF,
    updated_at: AS_OF,
    stale: null,
  }))

/** The lots, open or closed, by name. */
export const LOTS: (Pick<
  LotView,
  | 'symbol'
  | 'quantity'
  | 'opened_quantity'
  | 'price'
  | 'fees'
  | 'cost'
  | 'currency'
  | 'invested'
  | 'present_value'
  | 'gain_loss'
  | 'gain_loss_percent'
  | 'day_change'
> & { name: string })[] = [
  {
    name: 'a1',
    symbol: 'AAPL',
    quantity: '0',
    opened_quantity: '40',
    price: '50',
    fees: '0',
    cost: '0',
    currency: 'USD',
    invested: '0',
    present_value: '0',
    gain_loss: '0',
    gain_loss_percent: null,
    day_change: '0',
  },
  {
    name: 'a2',
    symbol: 'AAPL',
    quantity: '12',
    opened_quantity: '22',
    price: '55.025',
    fees: '0.5454545455',
    cost: '660.8454545455',
    currency: 'USD',
    invested: '641.2240001411798744053691583',
    present_value: '670.3624733475479538',
    gain_loss: '29.1384732063680793946308417',
    gain_loss_percent: '4.5442',
    day_change: '7.16417910447761172',
  },
  {
    name: 'a3',
    symbol: 'AAPL',
    quantity: '8',
    opened_quantity: '8',
    price: '61.25',
    fees: '0',
    cost: '490',
    currency: 'USD',
    invested: '437.382843881103295',
    present_value: '446.9083155650319692',
    gain_loss: '9.5254716839286742',
    gain_loss_percent: '2.1778',
    day_change: '4.77611940298507448',
  },
  {
    name: 'b1',
    symbol: 'SAP.DE',
    quantity: '0',
    opened_quantity: '20',
    price: '100',
    fees: '0',
    cost: '0',
    currency: 'EUR',
    invested: '0',
    present_value: '0',
    gain_loss: '0',
    gain_loss_percent: null,
    day_change: '0',
  },
  {
    name: 'b2',
    symbol: 'SAP.DE',
    quantity: '12',
    opened_quantity: '12',
    price: '95.4',
    fees: '4.9',
    cost: '1149.7',
    currency: 'EUR',
    invested: '1149.7',
    present_value: '1215',
    gain_loss: '65.3',
    gain_loss_percent: '5.6797',
    day_change: '-15',
  },
  {
    name: 'c1',
    symbol: 'NESN.SW',
    quantity: '27',
    opened_quantity: '30',
    price: '80',
    fees: '8.1',
    cost: '2168.1',
    currency: 'CHF',
    invested: '2295.28021313364065424',
    present_value: '2538.09372281449884003',
    gain_loss: '242.81350968085818579',
    gain_loss_percent: '10.5788',
    day_change: '6.91107889125799548',
  },
  {
    name: 'c2',
    symbol: 'NESN.SW',
    quantity: '8',
    opened_quantity: '15',
    price: '85.5',
    fees: '4.8',
    cost: '688.8',
    currency: 'CHF',
    invested: '730.2947669430941136',
    present_value: '752.02776972281447112',
    gain_loss: '21.73300277972035752',
    gain_loss_percent: '2.9759',
    day_change: '2.04772707889125792',
  },
  {
    name: 'd1',
    symbol: 'MSFT',
    quantity: '-3',
    opened_quantity: '-4',
    price: '400.5',
    fees: '0.9',
    cost: '-1200.6',
    currency: 'USD',
    invested: '-1106.23790656961203662',
    present_value: '-1049.680170575692931475',
    gain_loss: '56.557735993919105145',
    gain_loss_percent: '5.1126',
    day_change: '-13.432835820895521975',
  },
  {
    name: 'e1',
    symbol: 'BTC',
    quantity: '0.1',
    opened_quantity: '0.12345678',
    price: '60000.5',
    fees: '9.9954008196',
    cost: '6010.0454008196',
    currency: 'USD',
    invested: '5800.08241731287422854727087588',
    present_value: '5485.842217484008360095',
    gain_loss: '-314.24019982886586845227087588',
    gain_loss_percent: '-5.4179',
    day_change: '112.6865671641791010125',
  },
  {
    name: 'e2',
    symbol: 'BTC',
    quantity: '0.05',
    opened_quantity: '0.05',
    price: '65000',
    fees: '3.21',
    cost: '3253.21',
    currency: 'USD',
    invested: '2777.909657586884039059',
    present_value: '2742.9211087420041800475',
    gain_loss: '-34.9885488448798590115',
    gain_loss_percent: '-1.2595',
    day_change: '-32.2475361217989949525',
  },
  {
    name: 'f1',
    symbol: 'CABIN',
    quantity: '1',
    opened_quantity: '1',
    price: '25000',
    fees: '150',
    cost: '25150',
    currency: 'CHF',
    invested: '26864.88408338203812',
    present_value: '26864.88408338203812',
    gain_loss: null,
    gain_loss_percent: null,
    day_change: null,
  },
  {
    name: 'a6',
    symbol: 'ASML.AS',
    quantity: '6',
    opened_quantity: '10',
    price: '50',
    fees: '1.8',
    cost: '301.8',
    currency: 'EUR',
    invested: '301.8',
    present_value: '333',
    gain_loss: '31.2',
    gain_loss_percent: '10.338',
    day_change: '9',
  },
]

/** The closed lots, and the activities that closed them. */
export const CLOSURES: { activity: string; lot: string; quantity: string; cost: string; proceeds: string | null }[] = [
  { activity: 'a4', lot: 'a1', quantity: '40', cost: '2001.5', proceeds: '2798.4' },
  { activity: 'a4', lot: 'a2', quantity: '10', cost: '550.7045454545', proceeds: '699.6' },
  { activity: 'b3', lot: 'b1', quantity: '20', cost: '2005', proceeds: '2244.05' },
  { activity: 'c3', lot: 'c2', quantity: '7', cost: '602.7', proceeds: '625.1' },
  { activity: 'c3', lot: 'c1', quantity: '3', cost: '240.9', proceeds: '267.9' },
  { activity: 'd2', lot: 'd1', quantity: '1', cost: '-400.2', proceeds: '-380.7' },
  { activity: 'e3', lot: 'e1', quantity: '0.02345678', cost: '1409.7631275704', proceeds: '1643.870339491' },
  { activity: 'a7', lot: 'a6', quantity: '4', cost: '201.2', proceeds: null },
]

/** `''` has the figures without an asset. */
export const POSITIONS: Pick<
  Position,
  | 'symbol'
  | 'quantity'
  | 'lots'
  | 'cmp'
  | 'rate'
  | 'average_cost'
  | 'invested'
  | 'present_value'
  | 'gain_loss'
  | 'gain_loss_percent'
  | 'day_change'
  | 'day_change_percent'
  | 'realised_gain'
  | 'income'
  | 'expenses'
>[] = [
  {
    symbol: 'CABIN',
    quantity: '1',
    lots: 1,
    cmp: null,
    rate: null,
    average_cost: '26864.884083382',
    invested: '26864.88408338203812',
    present_value: '26864.88408338203812',
    gain_loss: null,
    gain_loss_percent: null,
    day_change: null,
    day_change_percent: null,
    realised_gain: '0',
    income: '0',
    expenses: '0',
  },
  {
    symbol: '',
    quantity: '0',
    lots: 0,
    cmp: null,
    rate: null,
    average_cost: null,
    invested: '0',
    present_value: '0',
    gain_loss: '0',
    gain_loss_percent: null,
    day_change: '0',
    day_change_percent: null,
    realised_gain: '0',
    income: '2.723339272079409549',
    expenses: '20.9',
  },
  {
    symbol: 'AAPL',
    quantity: '20',
    lots: 2,
    cmp: '65.5',
    rate: '0.8528784648187633',
    average_cost: '53.9303422011',
    invested: '1078.6068440222831694053691583',
    present_value: '1117.270788912579923',
    gain_loss: '38.6639448902967535946308417',
    gain_loss_percent: '3.5846',
    day_change: '11.9402985074626862',
    day_change_percent: '1.0802',
    realised_gain: '666.4881566341325537753691583',
    income: '0',
    expenses: '0',
  },
  {
    symbol: 'ASML.AS',
    quantity: '6',
    lots: 1,
    cmp: '55.5',
    rate: '1',
    average_cost: '50.3',
    invested: '301.8',
    present_value: '333',
    gain_loss: '31.2',
    gain_loss_percent: '10.338',
    day_change: '9',
    day_change_percent: '2.7778',
    realised_gain: '0',
    income: '0',
    expenses: '2',
  },
  {
    symbol: 'BTC',
    quantity: '0.15',
    lots: 2,
    cmp: '64321.5',
    rate: '0.8528784648187633',
    average_cost: '57186.6138326651',
    invested: '8577.99207489975826760627087588',
    present_value: '8228.7633262260125401425',
    gain_loss: '-349.22874867374572746377087588',
    gain_loss_percent: '-4.0712',
    day_change: '80.43903104238010606',
    day_change_percent: '0.9872',
    realised_gain: '159.33796332421440759123859538',
    income: '0',
    expenses: '0',
  },
  {
    symbol: 'MSFT',
    quantity: '-3',
    lots: 1,
    cmp: '410.25',
    rate: '0.8528784648187633',
    average_cost: '368.7459688565',
    invested: '-1106.23790656961203662',
    present_value: '-1049.680170575692931475',
    gain_loss: '56.557735993919105145',
    gain_loss_percent: '5.1126',
    day_change: '-13.432835820895521975',
    day_change_percent: '-1.2963',
    realised_gain: '35.44181897035279206',
    income: '0',
    expenses: '0',
  },
  {
    symbol: 'NESN.SW',
    quantity: '35',
    lots: 2,
    cmp: '88.14',
    rate: '1.0665245202558635',
    average_cost: '86.4449994308',
    invested: '3025.57498007673476784',
    present_value: '3290.12149253731331115',
    gain_loss: '264.54651246057854331',
    gain_loss_percent: '8.7437',
    day_change: '8.9588059701492534',
    day_change_percent: '0.273',
    realised_gain: '61.74173356126971744',
    income: '0',
    expenses: '0',
  },
  {
    symbol: 'SAP.DE',
    quantity: '12',
    lots: 1,
    cmp: '101.25',
    rate: '1',
    average_cost: '95.8083333333',
    invested: '1149.7',
    present_value: '1215',
    gain_loss: '65.3',
    gain_loss_percent: '5.6797',
    day_change: '-15',
    day_change_percent: '-1.2195',
    realised_gain: '239.05',
    income: '22',
    expenses: '5.8',
  },
]

export const TOTALS: Omit<Totals, 'currency' | 'version'> = {
  positions: 7,
  invested: '39892.32007581120228823164003418',
  present_value: '39999.3595204822509628175',
  gain_loss: '107.03944467104867458585996582',
  gain_loss_percent: '0.8216',
  day_change: '81.905299699096523685',
  day_change_percent: '0.6275',
  realised_gain: '1162.05967248996947086660775368',
  income: '24.723339272079409549',
  expenses: '28.7',
  incomplete: false,
  missing: [],
}
