import {
  abs,
  compareAmounts,
  type DecimalStyle,
  isNegative,
  isZero,
  multiply,
  negate,
  parseAmount,
  subtract,
} from './amount.ts'
import { lineKind, type ParsedTrade } from './degiro-language.ts'
import { parseCurrency } from './money.ts'
import {
  type ActivityDraft,
  costDraft,
  createDraft,
  type ImportAsset,
  importAsset,
  type RowError,
  type RowResult,
} from './row.ts'
import { splitRatio } from './split-ratio.ts'

/** How far an amount, rounded to cents, may be from quantity × price. */
const ROUNDING_TOLERANCE = '0.01'

/** A line of the account: the amount is null where none is told. */
export type AccountLine = {
  row: number
  at: string
  product: string
  isin: string
  description: string
  currency: string
  amount: string | null
  rate: string | null
  order: string
  trade: ParsedTrade | null
}

/** What became of each line by its row. */
export type LineResults = Map<number, RowResult | RowError[]>

const lineAsset = (line: AccountLine): ImportAsset => importAsset({ isin: line.isin, name: line.product })
const hasAsset = (line: AccountLine): boolean => /^[A-Z]{2}[A-Z0-9]{9}\d$/.test(line.isin)

/** `1,234` is one and a bit, or a thousand: what the line's own amount fits decides, then the file's language. */
function tradeAmounts(
  line: AccountLine,
  trade: ParsedTrade,
  style: DecimalStyle,
): { quantity: string; price: string } | null {
  const styles: DecimalStyle[] = style === 'comma' ? ['comma', 'point'] : ['point', 'comma']
  const readings = styles.flatMap((one) =>
    styles.map((other) => [parseAmount(trade.quantity, one), parseAmount(trade.price, other)]),
  )
  const told = readings.filter((pair): pair is [string, string] => pair.every((part) => part !== null))
  const money = parseCurrency(trade.currency)
  const amount = abs(line.amount ?? '0')
  const fits = ([quantity, price]: [string, string]): boolean => {
    const off = abs(subtract(multiply(quantity, money?.toMajor(price) ?? price), amount))
    return compareAmounts(off, ROUNDING_TOLERANCE) <= 0
  }
  const [quantity, price] = (isZero(amount) ? undefined : told.find(fits)) ?? told[0] ?? []
  return quantity === undefined || price === undefined ? null : { quantity, price }
}

/** The fees of an order, in the trade's currency where the order tells a rate to it. */
function withFees(lines: readonly AccountLine[], trade: ActivityDraft): ActivityDraft[] {
  const rated = lines.find(
    ({ rate, currency }) => rate !== null && parseCurrency(currency)?.currency === trade.currency,
  )
  const moved = new Set(lines.map(({ currency }) => currency))
  let fees = '0'
  const apart: ActivityDraft[] = []
  for (const line of lines) {
    const meaning = line.trade === null && line.amount !== null ? lineKind(line.description) : null
    const money = parseCurrency(line.currency)
    if ((meaning !== 'fee' && meaning !== 'tax') || money === null) continue
    const paid = negate(money.toMajor(line.amount as string))
    if (money.currency === trade.currency) fees = subtract(fees, negate(paid))
    // The rate of the row says how many of its currency one of the other is, and an order has two at most.
    else if (rated?.rate != null && !isZero(rated.rate) && moved.size <= 2)
      fees = subtract(fees, negate(multiply(paid, rated.rate)))
    else
      apart.push(costDraft('fee', paid, { asset: trade.asset, currency: money.currency, traded_at: trade.traded_at }))
  }
  return [{ ...trade, fees }, ...apart]
}

function tradeDraft(line: AccountLine, style: DecimalStyle): ActivityDraft | RowError {
  const trade = line.trade as ParsedTrade
  const read = tradeAmounts(line, trade, style)
  const money = parseCurrency(/^gbx$/i.test(trade.currency) ? 'GBX' : trade.currency)
  if (read === null || money === null)
    return { field: 'description', message: `${line.description.slice(0, 80)}: no amounts can be read` }
  if (!hasAsset(line)) return { field: 'isin', message: line.isin === '' ? 'is missing' : `${line.isin} is no ISIN` }
  return createDraft({
    kind: trade.side,
    asset: lineAsset(line),
    quantity: read.quantity,
    price: money.toMajor(read.price),
    currency: money.currency,
    traded_at: line.at,
    note: trade.action || null,
  })
}

const MAX_ACTION_GAP_MS = 3 * 86_400_000

/** Both sides of a change that nobody ordered: of the other side, and not told yet. */
function findCounterpart(line: AccountLine, lines: readonly AccountLine[], told: LineResults): AccountLine | undefined {
  return lines.find(
    (other) =>
      other.trade !== null &&
      other.trade.side !== line.trade?.side &&
      other.trade.action === line.trade?.action &&
      !told.has(other.row) &&
      Math.abs(Date.parse(other.at) - Date.parse(line.at)) <= MAX_ACTION_GAP_MS &&
      (other.isin === line.isin ||
        other.product === line.product ||
        /isin|wijziging|change|wechsel/.test(other.trade.action)),
  )
}

/** What a corporate action did: a split, another name for the same shares, or shares that came or went. */
function readCorporateAction(
  line: AccountLine,
  lines: readonly AccountLine[],
  told: LineResults,
  style: DecimalStyle,
): void {
  const own = tradeDraft(line, style)
  if ('field' in own) {
    told.set(line.row, [own])
    return
  }
  const pair = findCounterpart(line, lines, told)
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
function readSingleLine(line: AccountLine): RowResult | RowError[] {
  const meaning = lineKind(line.description)
  if (meaning === 'cash') return { skipped: 'a movement of money' }
  if (meaning === 'exchange') return { skipped: 'one currency for another' }
  if (meaning === null)
    return [
      {
        field: 'description',
        message: `${line.description.slice(0, 80) || 'nothing'}: a kind of line that is not known here`,
      },
    ]
  const money = parseCurrency(line.currency)
  if (money === null || line.amount === null) return [{ field: 'change', message: 'is missing' }]
  const amount = money.toMajor(line.amount)
  const parts = {
    asset: hasAsset(line) ? lineAsset(line) : null,
    currency: money.currency,
    traded_at: line.at,
    note: meaning === 'fee' || meaning === 'interest' ? line.description : null,
  }
  const paid = negate(amount)
  if (meaning === 'fee' || meaning === 'tax') return [costDraft(meaning, paid, parts)]
  if (isNegative(amount))
    return [
      meaning === 'interest'
        ? costDraft('fee', paid, parts)
        : createDraft({ ...parts, kind: 'dividend', quantity: '0', fees: paid }),
    ]
  if (meaning === 'dividend' && parts.asset === null) return [{ field: 'isin', message: 'is missing' }]
  return [createDraft({ ...parts, kind: meaning, price: amount })]
}

/** An order: its trades, the fees with the first of them, and the exchange of money beside it. */
function readOrder(order: readonly AccountLine[], told: LineResults, style: DecimalStyle): void {
  const trades = order.filter(({ trade }) => trade !== null && trade.action === '')
  const [first, ...more] = trades
  if (first === undefined) return
  for (const line of order)
    if (line.trade === null) told.set(line.row, { skipped: `belongs to the order of row ${first.row}` })
  const read = tradeDraft(first, style)
  if ('field' in read) told.set(first.row, [read])
  else told.set(first.row, withFees(order, read))
  for (const line of more) {
    const part = tradeDraft(line, style)
    told.set(line.row, [part] as RowResult | RowError[])
  }
}

/** What each line of an account says. */
export function readAccountLines(lines: readonly AccountLine[], style: DecimalStyle): LineResults {
  const told: LineResults = new Map()
  const byOrder = Map.groupBy(
    lines.filter(({ order, trade }) => order !== '' || trade?.action === ''),
    // Without a number, what was done at the same minute with the same shares is one order.
    ({ order, isin, at }) => order || `${isin} ${at}`,
  )
  for (const order of byOrder.values()) readOrder(order, told, style)
  for (const line of lines) {
    if (told.has(line.row)) continue
    if (line.trade === null) told.set(line.row, readSingleLine(line))
    else if (/mon[ée]taire|geldmarkt|cash fund|money market/i.test(`${line.description} ${line.product}`))
      told.set(line.row, { skipped: 'a movement of money' })
    else readCorporateAction(line, lines, told, style)
  }
  return told
}
