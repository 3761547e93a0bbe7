import {
  abs,
  add,
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
  CASH_MOVEMENT,
  cashDraft,
  createDraft,
  importAsset,
  isIsin,
  type RowError,
  type RowResult,
  separateFee,
} from './row.ts'
import { splitDraft } from './split-ratio.ts'

/** The largest difference between an amount, rounded to cents, and quantity × price. */
const ROUNDING_TOLERANCE = '0.01'

/** A line of the account; `amount` is null where the line has none. */
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
type TradeLine = AccountLine & { trade: ParsedTrade }

const isTrade = (line: AccountLine): line is TradeLine => line.trade !== null

/** The result of each line by its row. */
export type LineResults = Map<number, RowResult | RowError>

const lineAsset = ({ isin, product }: AccountLine) => (isIsin(isin) ? importAsset({ isin, name: product }) : null)

/** `1,234` is a fraction or a thousand: the line's own amount decides, then the file's language. */
function tradeAmounts(
  { trade, amount }: TradeLine,
  toMajor: (text: string) => string,
  style: DecimalStyle,
): [quantity: string, price: string] | undefined {
  const styles: DecimalStyle[] = style === 'comma' ? ['comma', 'point'] : ['point', 'comma']
  const readings = styles
    .flatMap((one) => styles.map((other) => [parseAmount(trade.quantity, one), parseAmount(trade.price, other)]))
    .filter((pair): pair is [string, string] => pair.every((part) => part !== null))
  const total = abs(amount ?? '0')
  const fits = ([quantity, price]: [string, string]): boolean =>
    compareAmounts(abs(subtract(multiply(quantity, toMajor(price)), total)), ROUNDING_TOLERANCE) <= 0
  return (isZero(total) ? undefined : readings.find(fits)) ?? readings[0]
}

function tradeDraft(line: TradeLine, style: DecimalStyle): ActivityDraft | RowError {
  const { trade } = line
  const unit = parseCurrency(/^gbx$/i.test(trade.currency) ? 'GBX' : trade.currency)
  const amounts = unit && tradeAmounts(line, unit.toMajor, style)
  if (unit === null || !amounts)
    return { field: 'description', message: `${line.description.slice(0, 80)}: no amounts can be read` }
  const asset = lineAsset(line)
  if (asset === null)
    return { field: 'isin', message: line.isin === '' ? 'is missing' : `${line.isin} is not a valid ISIN` }
  const [quantity, price] = amounts
  return createDraft({
    kind: trade.side,
    asset,
    quantity,
    price: unit.toMajor(price),
    currency: unit.currency,
    traded_at: line.at,
    note: trade.action || null,
  })
}

/** A trade with the fees of its order, in the trade's currency where the order has the rate. */
function withFees(lines: readonly AccountLine[], trade: ActivityDraft): ActivityDraft[] {
  const rate = lines.find(
    (line) => line.rate !== null && parseCurrency(line.currency)?.currency === trade.currency,
  )?.rate
  const currencies = new Set(lines.map(({ currency }) => currency))
  let fees = '0'
  const separate: ActivityDraft[] = []
  for (const line of lines) {
    const kind = isTrade(line) ? null : lineKind(line.description)
    const unit = parseCurrency(line.currency)
    if ((kind !== 'fee' && kind !== 'tax') || line.amount === null || unit === null) continue
    const paid = negate(unit.toMajor(line.amount))
    if (unit.currency === trade.currency) fees = add(fees, paid)
    // The rate is the number of units of its row's currency for one of the other: an order has two currencies at most.
    else if (rate != null && !isZero(rate) && currencies.size <= 2) fees = add(fees, multiply(paid, rate))
    else separate.push(separateFee(trade, { amount: paid, currency: unit.currency }))
  }
  return [{ ...trade, fees }, ...separate]
}

const MAX_ACTION_GAP_MS = 3 * 86_400_000

/** The other side of a corporate action. */
function findCounterpart(line: TradeLine, lines: readonly AccountLine[], results: LineResults): TradeLine | undefined {
  return lines
    .filter(isTrade)
    .find(
      (other) =>
        other.trade.side !== line.trade.side &&
        other.trade.action === line.trade.action &&
        !results.has(other.row) &&
        Math.abs(Date.parse(other.at) - Date.parse(line.at)) <= MAX_ACTION_GAP_MS &&
        (other.isin === line.isin ||
          other.product === line.product ||
          /isin|wijziging|change|wechsel/.test(other.trade.action)),
    )
}

/** Adds the results of a corporate action: a split, a new name of the same shares, or shares that arrived or left. */
function addCorporateAction(
  line: TradeLine,
  lines: readonly AccountLine[],
  results: LineResults,
  style: DecimalStyle,
): void {
  const own = tradeDraft(line, style)
  if ('field' in own) {
    results.set(line.row, own)
    return
  }
  const other = findCounterpart(line, lines, results)
  const paired = other && tradeDraft(other, style)
  if (other === undefined || paired === undefined || 'field' in paired) {
    const renamed = /isin|wijziging|product/.test(line.trade.action)
    const transfer = own.kind === 'buy' ? 'transfer_in' : 'transfer_out'
    results.set(line.row, [{ ...own, kind: renamed ? transfer : own.kind }])
    return
  }
  const sides = [
    { row: line.row, draft: own },
    { row: other.row, draft: paired },
  ]
  const [into, from] = (own.kind === 'buy' ? sides : sides.toReversed()) as [(typeof sides)[0], (typeof sides)[0]]
  const [now, before] = [into.draft.quantity, from.draft.quantity]
  if (other.isin === line.isin && now === before) {
    for (const { row } of sides) results.set(row, { skipped: 'the same shares as before the change' })
  } else if (other.isin === line.isin && !isZero(now) && !isZero(before)) {
    results.set(into.row, [splitDraft(into.draft, now, before)])
    results.set(from.row, { skipped: `part of the split in row ${into.row}` })
  } else {
    results.set(into.row, [{ ...into.draft, kind: 'transfer_in' }])
    results.set(from.row, [{ ...from.draft, kind: 'transfer_out' }])
  }
}

/** The result of a line that belongs to no other. */
function readSingleLine(line: AccountLine): RowResult | RowError {
  const kind = lineKind(line.description)
  if (kind === 'cash') return CASH_MOVEMENT
  if (kind === 'exchange') return { skipped: 'a currency exchange' }
  if (kind === null) {
    const description = line.description.slice(0, 80) || 'nothing'
    return { field: 'description', message: `${description}: unknown kind of line` }
  }
  const unit = parseCurrency(line.currency)
  if (unit === null || line.amount === null) return { field: 'change', message: 'is missing' }
  const parts = {
    asset: lineAsset(line),
    currency: unit.currency,
    traded_at: line.at,
    note: kind === 'fee' || kind === 'interest' ? line.description : null,
  }
  if (kind === 'dividend' && parts.asset === null && !isNegative(line.amount))
    return { field: 'isin', message: 'is missing' }
  return [cashDraft(kind, unit.toMajor(line.amount), parts)]
}

/** Adds the results of an order: its trades, the fees with the first of them, and its exchange of money. */
function addOrder(order: readonly AccountLine[], results: LineResults, style: DecimalStyle): void {
  const [first, ...more] = order.filter(isTrade).filter(({ trade }) => trade.action === '')
  if (first === undefined) return
  for (const line of order)
    if (!isTrade(line)) results.set(line.row, { skipped: `belongs to the order of row ${first.row}` })
  const draft = tradeDraft(first, style)
  results.set(first.row, 'field' in draft ? draft : withFees(order, draft))
  for (const line of more) {
    const part = tradeDraft(line, style)
    results.set(line.row, 'field' in part ? part : [part])
  }
}

/** The result of each line of an account. */
export function readAccountLines(lines: readonly AccountLine[], style: DecimalStyle): LineResults {
  const results: LineResults = new Map()
  const byOrder = Map.groupBy(
    lines.filter(({ order, trade }) => order !== '' || trade?.action === ''),
    // Without a number, lines of the same minute and shares are one order.
    ({ order, isin, at }) => order || `${isin} ${at}`,
  )
  for (const order of byOrder.values()) addOrder(order, results, style)
  for (const line of lines) {
    if (results.has(line.row)) continue
    if (!isTrade(line)) results.set(line.row, readSingleLine(line))
    else if (/mon[ée]taire|geldmarkt|cash fund|money market/i.test(`${line.description} ${line.product}`))
      results.set(line.row, CASH_MOVEMENT)
    else addCorporateAction(line, lines, results, style)
  }
  return results
}
