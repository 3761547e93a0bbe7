import { compare, decimalOf, isNegative, isZero, minus, negated, positive, type Style, times } from './amount.ts'
import { meaningOf, type TradeWords } from './degiro-words.ts'
import { moneyOf } from './money.ts'
import { assetNamed, cost, type Draft, draft, type ImportAsset, type RowFault, type Said } from './row.ts'
import { splitRatio } from './split-ratio.ts'

/** How far an amount, rounded to cents, may be from quantity × price. */
const NEAR = '0.01'

/** A line of the account: the amount is null where none is told. */
export type Line = {
  row: number
  at: string
  product: string
  isin: string
  words: string
  currency: string
  amount: string | null
  rate: string | null
  order: string
  trade: TradeWords | null
}

/** What became of each line by its row. */
export type Told = Map<number, Said | RowFault[]>

const named = (line: Line): ImportAsset => assetNamed({ isin: line.isin, name: line.product })
const hasAsset = (line: Line): boolean => /^[A-Z]{2}[A-Z0-9]{9}\d$/.test(line.isin)

/** `1,234` is one and a bit, or a thousand: what the line's own amount fits decides, then the file's language. */
function figures(line: Line, trade: TradeWords, style: Style): { quantity: string; price: string } | null {
  const styles: Style[] = style === 'comma' ? ['comma', 'point'] : ['point', 'comma']
  const readings = styles.flatMap((one) =>
    styles.map((other) => [decimalOf(trade.quantity, one), decimalOf(trade.price, other)]),
  )
  const told = readings.filter((pair): pair is [string, string] => pair.every((part) => part !== null))
  const money = moneyOf(trade.currency)
  const amount = positive(line.amount ?? '0')
  const fits = ([quantity, price]: [string, string]): boolean => {
    const off = positive(minus(times(quantity, money?.amount(price) ?? price), amount))
    return compare(off, NEAR) <= 0
  }
  const [quantity, price] = (isZero(amount) ? undefined : told.find(fits)) ?? told[0] ?? []
  return quantity === undefined || price === undefined ? null : { quantity, price }
}

/** The fees of an order, in the trade's currency where the order tells a rate to it. */
function costsOf(lines: readonly Line[], trade: Draft): Draft[] {
  const rated = lines.find(({ rate, currency }) => rate !== null && moneyOf(currency)?.currency === trade.currency)
  const moved = new Set(lines.map(({ currency }) => currency))
  let fees = '0'
  const apart: Draft[] = []
  for (const line of lines) {
    const meaning = line.trade === null && line.amount !== null ? meaningOf(line.words) : null
    const money = moneyOf(line.currency)
    if ((meaning !== 'fee' && meaning !== 'tax') || money === null) continue
    const paid = negated(money.amount(line.amount as string))
    if (money.currency === trade.currency) fees = minus(fees, negated(paid))
    // The rate of the row says how many of its currency one of the other is, and an order has two at most.
    else if (rated?.rate != null && !isZero(rated.rate) && moved.size <= 2)
      fees = minus(fees, negated(times(paid, rated.rate)))
    else apart.push(cost('fee', paid, { asset: trade.asset, currency: money.currency, traded_at: trade.traded_at }))
  }
  return [{ ...trade, fees }, ...apart]
}

function tradeDraft(line: Line, style: Style): Draft | RowFault {
  const trade = line.trade as TradeWords
  const read = figures(line, trade, style)
  const money = moneyOf(/^gbx$/i.test(trade.currency) ? 'GBX' : trade.currency)
  if (read === null || money === null)
    return { field: 'description', message: `${line.words.slice(0, 80)}: no amounts can be read` }
  if (!hasAsset(line)) return { field: 'isin', message: line.isin === '' ? 'is missing' : `${line.isin} is no ISIN` }
  return draft({
    kind: trade.side,
    asset: named(line),
    quantity: read.quantity,
    price: money.amount(read.price),
    currency: money.currency,
    traded_at: line.at,
    note: trade.action || null,
  })
}

const DAYS_MS = 3 * 86_400_000

/** Both sides of a change that nobody ordered: of the other side, and not told yet. */
function otherSide(line: Line, lines: readonly Line[], told: Told): Line | undefined {
  return lines.find(
    (other) =>
      other.trade !== null &&
      other.trade.side !== line.trade?.side &&
      other.trade.action === line.trade?.action &&
      !told.has(other.row) &&
      Math.abs(Date.parse(other.at) - Date.parse(line.at)) <= DAYS_MS &&
      (other.isin === line.isin ||
        other.product === line.product ||
        /isin|wijziging|change|wechsel/.test(other.trade.action)),
  )
}

/** What a corporate action did: a split, another name for the same shares, or shares that came or went. */
function actionOf(line: Line, lines: readonly Line[], told: Told, style: Style): void {
  const own = tradeDraft(line, style)
  if ('field' in own) {
    told.set(line.row, [own])
    return
  }
  const pair = otherSide(line, lines, told)
  const paired = pair === undefined ? null : tradeDraft(pair, style)
  const action = line.trade?.action ?? ''
  if (pair === undefined || paired === null || 'field' in paired) {
    const renamed = /isin|wijziging|product/.test(action)
    told.set(line.row, [{ ...own, kind: renamed ? (own.kind === 'buy' ? 'transfer_in' : 'transfer_out') : own.kind }])
    return
  }
  const [into, from] = own.kind === 'buy' ? [own, paired] : [paired, own]
  const [intoRow, fromRow] = own.kind === 'buy' ? [line.row, pair.row] : [pair.row, line.row]
  if (pair.isin === line.isin && into.quantity === from.quantity) {
    const skipped = 'the same shares as before'
    told.set(intoRow, { skipped })
    told.set(fromRow, { skipped })
  } else if (pair.isin === line.isin && !isZero(into.quantity) && !isZero(from.quantity)) {
    told.set(intoRow, [
      { ...into, kind: 'split', quantity: '0', price: '0', split: splitRatio(into.quantity, from.quantity) },
    ])
    told.set(fromRow, { skipped: `the split is told with row ${intoRow}` })
  } else {
    told.set(intoRow, [{ ...into, kind: 'transfer_in' }])
    told.set(fromRow, [{ ...from, kind: 'transfer_out' }])
  }
}

/** What one line says by itself. */
function alone(line: Line): Said | RowFault[] {
  const meaning = meaningOf(line.words)
  if (meaning === 'cash') return { skipped: 'a movement of money' }
  if (meaning === 'exchange') return { skipped: 'one currency for another' }
  if (meaning === null)
    return [
      {
        field: 'description',
        message: `${line.words.slice(0, 80) || 'nothing'}: a kind of line that is not known here`,
      },
    ]
  const money = moneyOf(line.currency)
  if (money === null || line.amount === null) return [{ field: 'change', message: 'is missing' }]
  const amount = money.amount(line.amount)
  const parts = {
    asset: hasAsset(line) ? named(line) : null,
    currency: money.currency,
    traded_at: line.at,
    note: meaning === 'fee' || meaning === 'interest' ? line.words : null,
  }
  const paid = negated(amount)
  if (meaning === 'fee' || meaning === 'tax') return [cost(meaning, paid, parts)]
  if (isNegative(amount))
    return [
      meaning === 'interest'
        ? cost('fee', paid, parts)
        : draft({ ...parts, kind: 'dividend', quantity: '0', fees: paid }),
    ]
  if (meaning === 'dividend' && parts.asset === null) return [{ field: 'isin', message: 'is missing' }]
  return [draft({ ...parts, kind: meaning, price: amount })]
}

/** An order: its trades, the fees with the first of them, and the exchange of money beside it. */
function orderOf(order: readonly Line[], told: Told, style: Style): void {
  const trades = order.filter(({ trade }) => trade !== null && trade.action === '')
  const [first, ...more] = trades
  if (first === undefined) return
  for (const line of order)
    if (line.trade === null) told.set(line.row, { skipped: `belongs to the order of row ${first.row}` })
  const read = tradeDraft(first, style)
  if ('field' in read) told.set(first.row, [read])
  else told.set(first.row, costsOf(order, read))
  for (const line of more) {
    const part = tradeDraft(line, style)
    told.set(line.row, [part] as Said | RowFault[])
  }
}

/** What each line of an account says. */
export function readLines(lines: readonly Line[], style: Style): Told {
  const told: Told = new Map()
  const byOrder = Map.groupBy(
    lines.filter(({ order, trade }) => order !== '' || trade?.action === ''),
    // Without a number, what was done at the same minute with the same shares is one order.
    ({ order, isin, at }) => order || `${isin} ${at}`,
  )
  for (const order of byOrder.values()) orderOf(order, told, style)
  for (const line of lines) {
    if (told.has(line.row)) continue
    if (line.trade === null) told.set(line.row, alone(line))
    else if (/mon[ée]taire|geldmarkt|cash fund|money market/i.test(`${line.words} ${line.product}`))
      told.set(line.row, { skipped: 'a movement of money' })
    else actionOf(line, lines, told, style)
  }
  return told
}
