import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { detectDecimalStyle, multiply, parseAmount, unitPrice } from '../../../src/portfolio/import/amount.ts'
import { matchAsset } from '../../../src/portfolio/import/match-asset.ts'
import { IMPORT_FORMATS, readImport } from '../../../src/portfolio/import/read-import.ts'
import { type ImportRow, importAsset, isActivity } from '../../../src/portfolio/import/row.ts'
import { splitRatio } from '../../../src/portfolio/import/split-ratio.ts'
import { parseTime } from '../../../src/portfolio/import/time.ts'
import { indexAssets } from '../../../src/pricing/symbol.ts'
import type { Asset } from '../../../src/protocol/asset.ts'

const DIR = 'test/fixtures/portfolio'
const text = (path: string): string => readFileSync(`${DIR}/${path}`, 'utf8')
const read = (path: string) => readImport(text(path), null)

/** `row kind symbol-or-isin quantity @ price +fees currency day`, or what became of the row. */
function line(row: ImportRow): string {
  if ('error' in row) return `${row.row} ERROR ${row.error.field}: ${row.error.message}`
  if ('skipped' in row) return `${row.row} skipped: ${row.skipped}`
  const { kind, asset, quantity, price, fees, currency, traded_at, split } = row
  const what = asset === null ? '-' : (asset.isin ?? asset.symbol)
  const ratio = split === null ? '' : ` ${split.numerator}:${split.denominator}`
  return `${row.row} ${kind} ${what} ${quantity} @ ${price} +${fees} ${currency} ${traded_at.slice(0, 10)}${ratio}`
}
const lines = (csv: string): string[] => readImport(csv, null).rows.map(line)
const fileLines = (path: string): string[] => read(path).rows.map(line)
const only = (rows: readonly string[], ...numbers: number[]): string[] =>
  rows.filter((row) => numbers.includes(Number(row.split(' ')[0])))

describe('the recorded exports of brokers', () => {
  test.each([
    ['coinbase', 'coinbase', 8],
    ['cryptocom', 'cryptocom', 65],
    ['degiro', 'degiro', 74],
    ['delta', 'delta', 7],
    ['ibkr-trades', 'ibkr', 11],
    ['parqet', 'parqet', 27],
    ['schwab', 'schwab', 120],
    ['trading212', 'trading212', 13],
  ])('%s: each row is an activity, or skipped with a reason; none is lost', (file, format, count) => {
    const { format: told, rows } = read(`broker-exports/${file}-export.csv`)
    expect(told).toBe(format)
    expect(rows.filter((row) => 'error' in row)).toEqual([])
    expect([...new Set(rows.map(({ row }) => row))]).toEqual(Array.from({ length: count }, (_, i) => i + 2))
  })

  test('Coinbase: what was paid in all is the cost, rewards are income and a purchase, ETH2 is ETH', () => {
    expect(fileLines('broker-exports/coinbase-export.csv')).toEqual([
      '2 interest ETH 0.000037835729 @ 3343.11229989 +0 EUR 2025-01-17',
      '2 buy ETH 0.000037835729 @ 3343.11229989 +0 EUR 2025-01-17',
      '3 interest ETH 0.000022652183 @ 3102.3217898325970226955 +0 EUR 2025-01-14',
      '3 buy ETH 0.000022652183 @ 3102.3217898325970226955 +0 EUR 2025-01-14',
      '4 skipped: ETH2 and ETH are one holding',
      '5 skipped: ETH2 and ETH are one holding',
      '6 sell BTC 0.00363125 @ 93336.17349397590361445783 +0 EUR 2024-12-05',
      '6 buy XRP 156.145683 @ 2.17058181493240514373 +0 EUR 2024-12-05',
      '7 skipped: ETH2 and ETH are one holding',
      // 70.00 in all: 66.71… for the coins, 2.99 of fee, the rest is the spread.
      '8 buy BTC 0.00166779 @ 39999.331136545 +3.28951552378161445 EUR 2022-03-25',
      '9 buy BTC 0.00166779 @ 39999.331136545 +3.28951552378161445 USD 2022-03-25',
    ])
  })

  test('Coinbase: sends and receipts are transfers', () => {
    const head = text('broker-exports/coinbase-export.csv').split('\n', 1)[0]
    expect(
      lines(`${head}
1,2025-01-07 19:26:56 UTC,Send,BTC,-0.5,EUR,€90000,-€45000,-€45000,€0.00,
2,2025-01-08 19:26:56 UTC,Receive,BTC,0.25,EUR,"€90,000.5",€22500,€22500,€0.00,
3,2025-01-08 19:26:56 UTC,Teleport,BTC,0.25,EUR,€90000,€22500,€22500,€0.00,`),
    ).toEqual([
      '2 transfer_out BTC 0.5 @ 90000 +0 EUR 2025-01-07',
      '3 transfer_in BTC 0.25 @ 90000.5 +0 EUR 2025-01-08',
      '4 ERROR transactiontype: Teleport is not a known activity type',
    ])
  })

  test('Crypto.com: swaps, exchanges, rewards, coins spent; what is locked stays held', () => {
    const rows = fileLines('broker-exports/cryptocom-export.csv')
    expect(only(rows, 2, 3, 4, 6, 8, 23, 24, 26, 60, 61)).toEqual([
      '2 transfer_out CRO 12273.72244554 @ 0.08775908910348908817 +0 EUR 2025-05-31',
      '3 buy USDC 81.161849 @ 0.91528346026535070795 +0 EUR 2025-03-31',
      '4 sell USDT 81.161849 @ 0.90602117205444231671 +0 EUR 2025-03-31',
      '6 sell ETHW 0.67 @ 3.2323994844957646029 +0 EUR 2025-01-07',
      '6 buy USDC 2.279542 @ 0.95006262425178491291 +0 EUR 2025-01-07',
      '8 skipped: locked or unlocked: it stays held',
      '23 interest CRO 58.906197 @ 0.07435550456601365727 +0 EUR 2024-08-08',
      '23 buy CRO 58.906197 @ 0.07435550456601365727 +0 EUR 2024-08-08',
      '24 sell USDT 235.08 @ 0.89331291475242470648 +0 EUR 2024-08-08',
      '26 transfer_in USDT 44.29 @ 0.90404154436667419282 +0 EUR 2024-08-02',
      '60 skipped: locked or unlocked: it stays held',
      '61 skipped: locked or unlocked: it stays held',
    ])
    // What a swap was worth is what the row says, to the last digit that anybody could mean.
    expect(Number(multiply('81.161849', '0.91528346026535070795'))).toBeCloseTo(74.28609799425389, 12)
  })

  test('DEGIRO: an order is its trade with its fees, in whatever language', () => {
    const rows = fileLines('broker-exports/degiro-export.csv')
    expect(only(rows, 2, 6, 10, 11, 18, 19, 20, 21, 22, 29, 30)).toEqual([
      '2 skipped: a cash transfer',
      '6 skipped: a currency exchange',
      '10 dividend US1912161007 1 @ 0.44 +0 USD 2022-12-16',
      '11 tax US1912161007 0 @ 0 +0.07 USD 2022-12-16',
      '18 skipped: belongs to the order of row 22',
      '19 skipped: continues in row 18',
      '20 skipped: belongs to the order of row 22',
      '21 skipped: belongs to the order of row 22',
      // 1.00 EUR at the order's own 1.0624.
      '22 buy US9256521090 1 @ 33.9 +1.0624 USD 2022-12-15',
      '29 sell CA0641491075 1 @ 63.97 +0.58615 USD 2021-08-10',
      '30 buy IE00B3RBWM25 1 @ 79.35 +0 EUR 2020-07-13',
    ])
    expect(only(rows, 34, 35, 37, 42, 45, 56, 62, 63, 65, 70)).toEqual(
      [
        '34 skipped: the same shares as before the change',
        '35 skipped: the same shares as before the change',
        '37 buy US00165C1045 1 @ 1.2108 +0 USD 2021-02-01',
        '37 fee US00165C1045 0 @ 0 +1 EUR 2021-02-01',
        '42 buy IE00B4L5Y983 6 @ 49.785 +0 EUR 2019-05-15',
        '45 fee - 0 @ 0 +2.5 EUR 2024-02-05',
        // Pence become pounds (Q6).
        '56 sell GB00BPQY8M80 4 @ 4.96 +0 GBP 2024-04-02',
        '62 fee - 0 @ 0 +2.5 EUR 2024-02-05',
        '63 interest - 1 @ 0.24 +0 EUR 2024-08-23',
        '65 buy NL0013654783 999 @ 0 +0 EUR 2023-09-14',
      ].concat(['70 skipped: a cash transfer']),
    )
  })

  test('DEGIRO: a split, new shares for old ones, and a line nobody knows', () => {
    const head = 'Date,Time,Value date,Product,ISIN,Description,FX,Change,,Balance,,Order Id'
    expect(
      lines(`${head}
01-06-2024,09:00,01-06-2024,NVIDIA,US67066G1040,STOCK SPLIT: Sell 5 @ 1200 USD,,USD,6000,USD,0,
01-06-2024,09:00,01-06-2024,NVIDIA,US67066G1040,STOCK SPLIT: Buy 50 @ 120 USD,,USD,-6000,USD,0,
02-06-2024,09:00,02-06-2024,OLD,US0000000017,ISIN CHANGE: Sell 3 @ 10 USD,,USD,30,USD,0,
02-06-2024,09:00,02-06-2024,NEW,US0000000025,ISIN CHANGE: Buy 3 @ 10 USD,,USD,-30,USD,0,
03-06-2024,09:00,03-06-2024,X,US0000000017,Moon landing,,USD,30,USD,0,
04-06-2024,09:00,04-06-2024,X,US0000000017,"Buy 1,000 @ 2.5 USD",,USD,"-2,500.00",USD,0,o1`),
    ).toEqual([
      '2 skipped: part of the split in row 3',
      '3 split US67066G1040 0 @ 0 +0 USD 2024-06-01 10:1',
      '4 transfer_out US0000000017 3 @ 10 +0 USD 2024-06-02',
      '5 transfer_in US0000000025 3 @ 10 +0 USD 2024-06-02',
      '6 ERROR description: Moon landing: unknown kind of line',
      '7 buy US0000000017 1000 @ 2.5 +0 USD 2024-06-04',
    ])
  })

  test('Delta: prices in coins, fees in other coins, coins that came for nothing', () => {
    expect(fileLines('broker-exports/delta-export.csv')).toEqual([
      '2 buy ETH 10 @ 0.06 +0 BTC 2023-06-02',
      '2 fee ETH 0 @ 0 +0.1 BNB 2023-06-02',
      '3 sell SOL 100 @ 0.0088 +0 ETH 2023-06-01',
      '4 transfer_out DOT 0.1 @ 0 +0 USD 2023-05-26',
      '4 fee DOT 0 @ 0 +0.001 DOT 2023-05-26',
      '5 transfer_in BTC 0.001 @ 0 +0 USD 2023-05-09',
      '6 buy AAPL 5 @ 250 +0 USD 2023-05-08',
      '7 skipped: a cash transfer',
      '8 dividend AAPL 1 @ 2.5 +0.5 USD 2023-05-08',
    ])
    const [first] = read('broker-exports/delta-export.csv').rows.filter(isActivity)
    expect([first?.traded_at, first?.asset?.crypto]).toEqual(['2023-06-02T20:06:47Z', true])
  })

  test('Interactive Brokers: commissions, also of currencies that were exchanged; dividends and taxes', () => {
    expect(only(fileLines('broker-exports/ibkr-trades-export.csv'), 2, 6, 10)).toEqual([
      '2 buy CH0111762537 7 @ 282.7 +5 CHF 2023-05-22',
      '6 buy US9220427424 1 @ 97.84 +0.979 USD 2023-08-03',
      '10 fee - 0 @ 0 +1.79924 CHF 2023-05-22',
    ])
    expect(
      lines(`"Type","SettleDate","ISIN","Description","Amount","CurrencyPrimary"
"Dividends","20230623","US9220427424","VT CASH DIVIDEND","137.23","USD"
"Withholding Tax","20230623","US9220427424","VT - US TAX","-20.58","USD"
"Withholding Tax","20230624","US9220427424","VT - US TAX, paid back","20.58","USD"
"Deposits/Withdrawals","20230624","","CASH","20","USD"`),
    ).toEqual([
      '2 dividend US9220427424 1 @ 137.23 +0 USD 2023-06-23',
      '3 tax US9220427424 0 @ 0 +20.58 USD 2023-06-23',
      '4 tax US9220427424 0 @ 0 +-20.58 USD 2023-06-24',
      '5 skipped: a cash transfer',
    ])
  })

  test('Parqet: decimal commas; taxes beside the trade, and paid back', () => {
    expect(only(fileLines('broker-exports/parqet-export.csv'), 2, 16, 20, 25)).toEqual([
      '2 buy LU2089238203 17.83803 @ 28.03 +0 EUR 2024-08-02',
      '16 dividend US02079K3059 6 @ 0.18 +0 EUR 2024-06-17',
      '16 tax US02079K3059 0 @ 0 +0.27 EUR 2024-06-17',
      '20 sell DE0008404005 6 @ 263 +1 EUR 2024-06-04',
      '20 tax DE0008404005 0 @ 0 +14.83 EUR 2024-06-04',
      '25 sell IL0011582033 14 @ 22.88 +1 EUR 2024-05-15',
      '25 tax IL0011582033 0 @ 0 +-12.64 EUR 2024-05-15',
    ])
  })

  test('Schwab: reinvested dividends, days that count from before, splits by what was held', () => {
    const rows = fileLines('broker-exports/schwab-export.csv')
    expect(only(rows, 2, 3, 8, 13, 31, 34, 64, 104, 106)).toEqual([
      '2 buy SPY 1.6531 @ 420.1 +0 USD 2023-11-01',
      '3 dividend SPY 1 @ 694.48 +0 USD 2023-10-31',
      '8 interest - 1 @ 1.63 +0 USD 2023-10-30',
      '13 buy SNSXX 1259.59 @ 1 +0 USD 2023-10-16',
      '31 fee - 0 @ 0 +519.67 USD 2023-08-24',
      '34 sell FIHBX 592.199 @ 8.46 +10 USD 2023-08-22',
      '64 buy SNSXX 491.24 @ 1 +0 USD 2023-05-15',
      '104 interest - 1 @ 72.06 +0 USD 2023-11-07',
      '106 tax IBN 0 @ 0 +1.3 USD 2024-09-06',
    ])
    expect(only(rows, 100, 108, 110, 111, 112, 113, 114, 118, 119, 121)).toEqual([
      '100 sell SNAXX 500135 @ 1 +0 USD 2023-09-08',
      '108 split AVGO 0 @ 0 +0 USD 2024-07-15 10:1',
      '110 buy AMC 4 @ 0 +0 USD 2023-08-28',
      '111 split TNXP 0 @ 0 +0 USD 2024-06-10 1:1',
      '112 skipped: part of the split in row 111',
      '113 buy APE 344 @ 0 +0 USD 2022-08-19',
      '114 transfer_in LCID 50 @ 0 +0 USD 2021-07-26',
      '118 transfer_in AMC 34 @ 0 +0 USD 2023-08-25',
      '119 transfer_out APE 344 @ 0 +0 USD 2023-08-25',
      '121 skipped: the total of the file',
    ])
  })

  test('Schwab: a split of shares that the file does not have, and an exchange for nothing, are refused', () => {
    expect(
      lines(`"Transactions for account XXXX-1234 as of 01/01/2025"
Date,Action,Symbol,Description,Quantity,Price,Fees & Comm,Amount
07/15/2024,Stock Split,AVGO,BROADCOM INC,9,,,
07/16/2024,Stock Merger,LCID,LUCID GROUP INC,50,,,
07/17/2024,Levitate,LCID,LUCID GROUP INC,50,,,`),
    ).toEqual([
      '3 ERROR quantity: Stock Split of AVGO: the file does not say how many shares were held before',
      '4 ERROR action: Stock Merger of LCID: the line of what it was exchanged for is missing',
      '5 ERROR action: Levitate is not a known activity type',
    ])
  })

  test('Trading 212: taxes that were withheld, pence, shares that were given, splits in two rows', () => {
    expect(only(fileLines('broker-exports/trading212-export.csv'), 2, 3, 7, 9, 11, 12, 13, 14)).toEqual([
      '2 skipped: a cash transfer',
      '3 buy US17275R1023 0.029053 @ 49.96 +0 USD 2023-12-18',
      '7 dividend US56035L1044 0.154334 @ 0.23 +0 USD 2023-12-27',
      '7 dividend US56035L1044 1 @ 0.01 +0 USD 2023-12-27',
      '7 tax US56035L1044 0 @ 0 +0.01 USD 2023-12-27',
      '9 dividend IE00B1XNHC34 0.0280492 @ 6.3011 +0 GBP 2024-01-12',
      '9 dividend IE00B1XNHC34 1 @ 15.02 +0 USD 2024-01-12',
      '9 tax IE00B1XNHC34 0 @ 0 +15.02 USD 2024-01-12',
      '11 buy US9078181081 11.0563304 @ 0 +0 USD 2025-01-23',
      '12 transfer_out DE000A3GK2N1 595 @ 3.41943 +0 EUR 2025-02-28',
      '13 skipped: part of the split in row 14',
      '14 split CA46500E8678 0 @ 0 +0 USD 2025-03-24 1:4',
    ])
  })

  test('Trading 212: fees in another currency stand beside the trade, also where the column names the currency', () => {
    const head = text('broker-exports/trading212-export.csv').split('\n', 1)[0]
    expect(
      lines(`${head},Stamp duty reserve tax (GBP)
Limit buy,2024-01-02 10:00:00,GB00BH4HKS39,VOD,Vodafone,100,70.5,GBX,,,,70.90,GBP,,,,EOF1,0.15,EUR,0.35`),
    ).toEqual(['2 buy GB00BH4HKS39 100 @ 0.705 +0.35 GBP 2024-01-02', '2 fee GB00BH4HKS39 0 @ 0 +0.15 EUR 2024-01-02'])
  })
})

describe('Ghostfolio', () => {
  test.each(readdirSync(`${DIR}/ghostfolio/ok`))('ok/%s: every row is an activity', (file) => {
    const { format, rows } = read(`ghostfolio/ok/${file}`)
    expect(format).not.toBeNull()
    expect(rows.length).toBeGreaterThan(0)
    expect(rows.filter((row) => !isActivity(row))).toEqual([])
  })

  test.each([
    ['invalid-currency.csv', ['2 ERROR currency: <invalid> is not a valid currency']],
    ['invalid-data-source.json', ['1 ERROR dataSource: <invalid> is not a known data source']],
    ['invalid-date-yy.csv', ['2 ERROR date: 16/09/21: a year must have four digits']],
    ['invalid-fee.csv', ['2 ERROR fee: <invalid> is no amount']],
    ['invalid-symbol.csv', ['2 ERROR symbol: <invalid> is not a valid symbol, such as AAPL']],
    ['invalid-type.json', ['1 ERROR type: <invalid> is not a known activity type']],
  ])('not-ok/%s is refused with the row and the reason', (file, expected) => {
    expect(fileLines(`ghostfolio/not-ok/${file}`)).toEqual(expected)
  })

  test('not-ok/unexpected-format.json, and what is no portfolio, are of no form', () => {
    for (const file of ['ghostfolio/not-ok/unexpected-format.json', 'sure-imports/transactions.csv']) {
      const { format, rows } = read(file)
      expect([format, rows.length, line(rows[0] as ImportRow)]).toEqual([
        null,
        1,
        expect.stringMatching(/^1 ERROR format: /),
      ])
    }
    for (const nothing of ['', '[]', '{}', '{"activities": {}}', 'null', '\0'])
      expect(readImport(nothing, null).rows.filter(isActivity)).toEqual([])
  })

  test('a fee of no asset has its name as a note; what nobody prices is an own asset; JSON and CSV say the same', () => {
    const expected = [
      ['fee', null, '49', 'Account Opening Fee'],
      ['buy', 'MSFT', '19', 'My first order 🤓'],
      ['dividend', 'MSFT', '0', null],
      ['buy', 'Penthouse Apartment', '0', null],
    ]
    for (const file of ['sample.csv', 'sample.json']) {
      const rows = read(`ghostfolio/ok/${file}`).rows.filter(isActivity)
      expect(rows.slice(0, 4).map(({ kind, asset, fees, note }) => [kind, asset?.symbol ?? null, fees, note])).toEqual(
        expected,
      )
      expect(rows[3]?.asset).toMatchObject({ manual: true, name: 'Penthouse Apartment' })
      expect(rows[4]).toMatchObject({ kind: 'buy', quantity: '0', traded_at: '2050-06-06T00:00:00Z' })
    }
    expect(read('ghostfolio/ok/sample.csv').rows.filter(isActivity)[4]?.asset).toMatchObject({
      isin: 'US5949181045',
      symbol: null,
    })
  })

  test('D7 P1 numbers of JSON keep their digits, also those that no float holds', () => {
    const file = (number: string) =>
      `{"activities":[{"type":"BUY","symbol":"AAPL","dataSource":"YAHOO","currency":"USD","date":"2021-01-01","fee":0,"quantity":${number},"unitPrice":1e-7}]}`
    for (const number of ['0.1234567890123456789012345', '12345678901234567890.5', '0.30000000000000004'])
      expect(readImport(file(number), null).rows).toMatchObject([{ quantity: number, price: '0.0000001' }])
  })

  test('IBKR’s columns: quotes, a commission below 0, a day and a time', () => {
    expect(read('ghostfolio/ok/vti-buy-on-ibkr.csv').rows).toMatchObject([
      { kind: 'buy', quantity: '17', price: '204.3473', fees: '1', currency: 'USD', traded_at: '2023-04-03T09:58:53Z' },
    ])
  })
})

describe('tables with such columns', () => {
  const expected = ['2 buy AAPL 1.5 @ 1234.5 +2 EUR 2021-09-16', '3 sell AAPL 1 @ 1300 +0 EUR 2021-10-01']

  test.each([
    [
      'commas',
      'Date,Code,Currency,Price,Quantity,Action,Fee\n16-09-2021,AAPL,EUR,"1,234.50",1.5,buy,2\n01-10-2021,AAPL,EUR,1300,1,sell,0',
    ],
    [
      'semicolons and decimal commas',
      'date;ticker;ccy;unit price;shares;type;commission\r\n16.09.2021;AAPL;EUR;1.234,50;1,5;BUY;2,00\r\n01.10.2021;AAPL;EUR;1300,00;1;SELL;0\r\n',
    ],
    [
      'tabs, another order, columns of no use',
      'UNITS\tX\tTRADEDATE\tBuy/Sell\tSymbol\tCURRENCYPRIMARY\tValue\tIBCommission\n1.5\t\t20210916\tBUY\tAAPL\tEUR\t1234.50\t-2\n1\t\t20211001\tSELL\tAAPL\tEUR\t1300\t0',
    ],
    [
      'a byte order mark, signs of currencies, zones',
      '\ufeff"Trade Date","Symbol","Currency","Price","Qty","Type","Fee"\n"2021-09-16T10:00:00+02:00","aapl","€","€1,234.50","1.5","Buy","€2"\n"2021-10-01T00:00:00Z","AAPL","eur","€ 1\u202f300","1","Sell",""',
    ],
    [
      'months first, as soon as a day says so',
      'Date,Symbol,Currency,Price,Quantity,Action,Fee\n09/16/2021,AAPL,EUR,1234.5,1.5,buy,2\n10/01/2021,AAPL,EUR,1300,1,sell,0',
    ],
  ])('%s', (_, csv) => {
    expect(lines(csv)).toEqual(expected)
  })

  test('without kind and currency: a quantity below 0 is a sale, the currency that of the asset', () => {
    expect(only(fileLines('sure-imports/trades.csv'), 2, 7)).toEqual([
      '2 buy AAPL 10 @ 150.25 +0 null 2023-01-15',
      '7 sell AAPL 5 @ 170.5 +0 null 2023-06-15',
    ])
  })

  test('every fault of a row is told, and of every row', () => {
    expect(
      lines('Date,Code,Currency,Price,Quantity,Action,Fee\n31-02-2021,AAPL,,x,1,gift,0\n,AAPL,USD,1,1,buy,0'),
    ).toEqual([
      '2 ERROR date: 2021-02-31: not a valid date',
      '2 ERROR type: gift is not a known activity type',
      '2 ERROR currency: is missing',
      '2 ERROR price: x is no amount',
      '3 ERROR date: is missing',
    ])
  })

  test('a form that was asked for and is not there is refused', () => {
    expect(readImport(text('broker-exports/delta-export.csv'), 'coinbase').format).toBeNull()
    expect(readImport(text('broker-exports/delta-export.csv'), 'delta').format).toBe('delta')
    expect(IMPORT_FORMATS).toContain('ghostfolio-json')
  })

  test('whatever the text, reading ends and throws nothing', () => {
    const columns = fc.subarray(['Date', 'Code', 'Price', 'Quantity', 'Action', 'Fee', 'Currency', 'ISIN', 'Split'])
    const cells = fc.array(
      fc.array(fc.oneof(fc.string(), fc.constantFrom('1e99', '-', '"', '1,5', '2021-01-01', 'buy')), { maxLength: 9 }),
      { maxLength: 6 },
    )
    fc.assert(
      fc.property(columns, cells, (names, rows) => {
        const csv = [names, ...rows].map((row) => row.join(',')).join('\n')
        expect(Array.isArray(readImport(csv, null).rows)).toBe(true)
      }),
    )
    fc.assert(
      fc.property(fc.json(), (json) => {
        expect(Array.isArray(readImport(json, null).rows)).toBe(true)
      }),
    )
  })
})

describe('amounts and times', () => {
  test.each([
    ['1,259.59', 'point', '1259.59'],
    ['1.259,59', 'comma', '1259.59'],
    ['1.259,59', 'point', '1259.59'],
    ['-97.93', 'comma', '-97.93'],
    ['500,135', 'point', '500135'],
    ['500,135', 'comma', '500.135'],
    ['0,039', 'point', '0.039'],
    ['-$1,259.59', 'point', '-1259.59'],
    ['$-5', 'point', '-5'],
    ['(12.50)', 'point', '-12.5'],
    ['−€597.49846', 'point', '-597.49846'],
    ["1'234.5", 'point', '1234.5'],
    ['1 046,3825', 'comma', '1046.3825'],
    ['1e-8', 'point', '0.00000001'],
    ['+.5', 'point', '0.5'],
    ['007', 'point', '7'],
    ['-0.00', 'point', '0'],
    ['12 EUR', 'point', '12'],
    ['<invalid>', 'point', null],
    ['1.2.3', 'point', null],
    ['12-13', 'point', null],
    ['NaN', 'point', null],
    ['Infinity', 'point', null],
    ['1e99', 'point', null],
    ['', 'point', null],
  ] as const)('P1 %s in the style of the %s is %s', (given, style, expected) => {
    expect(parseAmount(given, style)).toBe(expected)
  })

  test('P1 every digit of an amount is kept', () => {
    const digits = fc.tuple(fc.bigInt({ min: 0n, max: 10n ** 29n }), fc.bigInt({ min: 1n, max: 10n ** 40n }))
    fc.assert(
      fc.property(digits, ([whole, fraction]) => {
        const plain = `${whole}.${fraction}`.replace(/0+$/, '')
        expect(parseAmount(`${whole}.${fraction}`, 'point')).toBe(plain)
        expect(parseAmount(`${whole},${fraction}`, 'comma')).toBe(plain)
      }),
    )
  })

  test('the style is that of the first amount that leaves no doubt', () => {
    expect(detectDecimalStyle(['1', '1.234', '5,50'], 'point')).toBe('comma')
    expect(detectDecimalStyle(['1', '1,234', '5.50'], 'comma')).toBe('point')
    expect(detectDecimalStyle(['1', '1.234'], 'point')).toBe('point')
  })

  test('a price that is derived gives back its amount', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e9 }), fc.integer({ min: 1, max: 1e9 }), (amount, quantity) => {
        const off = Number(multiply(unitPrice(`${amount}`, `${quantity}`), `${quantity}`)) - amount
        expect(Math.abs(off)).toBeLessThan(1e-6)
      }),
    )
    expect(unitPrice('1', '3')).toBe('0.33333333333333333333')
    expect(unitPrice('2', '3')).toBe('0.66666666666666666667')
    expect(unitPrice('1250', '5')).toBe('250')
  })

  test.each([
    ['2021-09-16', '2021-09-16T00:00:00Z'],
    ['16-09-2021', '2021-09-16T00:00:00Z'],
    ['17/11/2021', '2021-11-17T00:00:00Z'],
    ['01.01.2022', '2022-01-01T00:00:00Z'],
    ['20500606', '2050-06-06T00:00:00Z'],
    ['20230403;095853', '2023-04-03T09:58:53Z'],
    ['2022-09-03T16:25:19.368113Z', '2022-09-03T16:25:19.368113Z'],
    ['2022-09-03T16:25:19.500Z', '2022-09-03T16:25:19.5Z'],
    ['2023-06-02 16:06:47-04:00', '2023-06-02T20:06:47Z'],
    ['2025-01-17 16:57:02 UTC', '2025-01-17T16:57:02Z'],
    ['19-12-2022 18:33', '2022-12-19T18:33:00Z'],
    ['16/09/21', null],
    ['31-02-2021', null],
    ['2021-13-01', null],
    ['1.1.1', null],
    ['', null],
    ['yesterday', null],
  ])('the moment %s is %s', (given, expected) => {
    const read = parseTime(given, 'dmy')
    expect(read.ok ? read.at : null).toBe(expected)
  })

  test('splits are told in small whole numbers, as far as brokers’ rounding lets them', () => {
    expect(splitRatio('7.451195', '29.80478')).toEqual({ numerator: '1', denominator: '4' })
    expect(splitRatio('10', '1')).toEqual({ numerator: '10', denominator: '1' })
    expect(splitRatio('15', '10')).toEqual({ numerator: '3', denominator: '2' })
    expect(splitRatio('0.3333', '1')).toEqual({ numerator: '1', denominator: '3' })
  })
})

describe('what a file’s names mean', () => {
  let count = 0
  const asset = (symbol: string, change: Partial<Asset> = {}): Asset => ({
    asset_id: ++count,
    symbol,
    name: symbol,
    type: 'stock',
    category: 'stock',
    code: symbol.split('.')[0] as string,
    provider: 'yahoo',
    provider_id: symbol,
    currency: 'USD',
    isin: null,
    ...change,
  })
  const index = indexAssets([
    asset('MSFT', { isin: 'US5949181045' }),
    asset('BTC', { type: 'crypto', provider: 'coinbase', provider_id: 'BTC-USD' }),
    asset('SOL', { type: 'crypto', provider: 'coinbase', provider_id: 'SOL-USD' }),
    asset('SOL', { provider_id: 'SOL' }),
    asset('INRG', { isin: 'US1111111111' }),
    asset('SHEL.L', { currency: 'GBP', isin: 'GB00BP6MXD84' }),
    asset('SHEL.AS', { currency: 'EUR', isin: 'GB00BP6MXD84' }),
    asset('BRK-B'),
  ])
  const meaning = (told: Parameters<typeof importAsset>[0], currency: string | null = 'USD', crypto = false) => {
    const found = matchAsset(importAsset(told, crypto), currency, index, new Map())
    return found.kind === 'one' ? `${found.asset.provider}:${found.asset.provider_id}` : found
  }

  test('symbols, ISINs, coins, Ghostfolio’s pairs, Kerb’s own names, shares of a class', () => {
    expect(meaning({ symbol: 'MSFT' })).toBe('yahoo:MSFT')
    expect(meaning({ isin: 'US5949181045' })).toBe('yahoo:MSFT')
    expect(meaning({ symbol: 'BTCUSD' })).toBe('coinbase:BTC-USD')
    expect(meaning({ symbol: 'BTC' }, 'EUR', true)).toBe('coinbase:BTC-USD')
    expect(meaning({ symbol: 'SOL' }, 'EUR', true)).toBe('coinbase:SOL-USD')
    expect(meaning({ symbol: 'SOL' })).toBe('yahoo:SOL')
    expect(meaning({ symbol: 'BTCUSD', own_name: 'coinbase:BTC-USD' })).toBe('coinbase:BTC-USD')
    expect(meaning({ symbol: 'BRK.B' })).toBe('yahoo:BRK-B')
    expect(meaning({ symbol: 'BRK B' })).toBe('yahoo:BRK-B')
  })

  test('of several listings that in the currency of the file; none where that leaves a doubt', () => {
    expect(meaning({ isin: 'GB00BP6MXD84' }, 'EUR')).toBe('yahoo:SHEL.AS')
    expect(meaning({ symbol: 'SHEL' }, 'GBP')).toBe('yahoo:SHEL.L')
    expect(meaning({ isin: 'GB00BP6MXD84' }, 'USD')).toMatchObject({ kind: 'ambiguous' })
  })

  test('a ticker whose ISIN is another one is another asset', () => {
    expect(meaning({ symbol: 'INRG', isin: 'IE00B1XNHC34' }, 'GBP')).toEqual({
      kind: 'none',
      ask: ['IE00B1XNHC34', 'INRG'],
    })
    expect(meaning({ symbol: 'MSFT', isin: 'US0000000000' })).toMatchObject({ kind: 'none' })
  })

  test('what is asked for is the name that leaves the least doubt', () => {
    expect(meaning({ symbol: 'ETHEUR' })).toEqual({ kind: 'none', ask: ['ETH-EUR'] })
    expect(meaning({ symbol: 'CRO' }, 'EUR', true)).toEqual({ kind: 'none', ask: ['CRO-USD'] })
    expect(meaning({ symbol: 'VTI' })).toEqual({ kind: 'none', ask: ['VTI'] })
  })
})
