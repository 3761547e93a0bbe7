import type { GeneratedEvent, GeneratedRecording, GeneratedTrade } from './generated-recording.ts'

/** A printed candle, with its numbers as text. */
export type PrintedCandle = {
  product_id: string
  granularity: string
  timestamp: string
  open: string
  high: string
  low: string
  close: string
  volume: string
  is_complete: boolean
  coverage: string
  rev: string
  last_update: string
}

/** The trades that REST has: none, the trades since the recording began, or all there ever were. */
export type RestCoverage = 'none' | 'since' | 'all'

/** An independent copy in seconds, so that an error in the table under test is found. */
export const GRANULARITY_SECONDS: [name: string, seconds: number][] = [
  ['ONE_MINUTE', 60],
  ['FIVE_MINUTES', 300],
  ['FIFTEEN_MINUTES', 900],
  ['THIRTY_MINUTES', 1800],
  ['ONE_HOUR', 3600],
  ['TWO_HOURS', 7200],
  ['SIX_HOURS', 21600],
  ['ONE_DAY', 86400],
]

const GRACE_MS = 1_000
const TRADE_WINDOW_S = 7_200
const SILENCE_MS = 10_000
const SCALE = 40

/** Decimal text as a count of 10^-40. */
export function toScaled(text: string): bigint {
  const [whole = '', fraction = ''] = text.split('.')
  if (fraction.length > SCALE) throw new Error(`${text} is too fine`)
  return BigInt(whole + fraction.padEnd(SCALE, '0'))
}

export function fromScaled(value: bigint): string {
  const digits = value.toString().padStart(SCALE + 1, '0')
  return `${digits.slice(0, -SCALE)}.${digits.slice(-SCALE)}`.replace(/\.?0+$/, '')
}

const minuteOf = (ms: number): number => Math.floor(ms / 60_000) * 60
const minute = (trade: GeneratedTrade): number => minuteOf(Math.floor(trade.us / 1000))

type CandleValues = Pick<PrintedCandle, 'open' | 'high' | 'low' | 'close' | 'volume' | 'last_update'>

/** The candle of trades that ascend by id. */
function aggregateTrades(trades: readonly GeneratedTrade[]): CandleValues {
  const prices = trades.map((trade) => toScaled(trade.price))
  const sorted = prices.toSorted((a, b) => (a < b ? -1 : 1))
  return {
    open: fromScaled(prices[0] as bigint),
    high: fromScaled(sorted.at(-1) as bigint),
    low: fromScaled(sorted[0] as bigint),
    close: fromScaled(prices.at(-1) as bigint),
    volume: fromScaled(trades.reduce((sum, trade) => sum + toScaled(trade.size), 0n)),
    last_update: (trades.at(-1) as GeneratedTrade).time,
  }
}

/** A stretch in which something may have been lost, unix ms. `settled` is when the next trade proved what; else null. */
type UncertainRange = { from: number; to: number; settled: number | null }

/** The messages of one connection, and where it broke. */
type ConnectionSummary = {
  delivered: Set<number>
  uncertain: UncertainRange[]
  /** The minutes of the first message and of the first trade, seconds. */
  firstMessage: number
  firstTrade: number
  /** The minute of the oldest trade that came, in whatever order. */
  oldest: number
  /** Something may have been lost before the first trade came. */
  lostAtStart: boolean
}

function summarizeConnection(product: string, events: readonly GeneratedEvent[], ended: number): ConnectionSummary {
  const delivered = new Set<number>()
  const doubts: UncertainRange[] = []
  let expected = 0
  let lastGood = 0
  let lastMessageAt = 0
  let highest = 0
  let open = false
  let firstMessage = 0
  let firstTrade = 0
  let oldest = Number.POSITIVE_INFINITY
  let lostAtStart = false
  /** A break whose end is not known yet. */
  let broken: number | null = null
  const doubt = (from: number, to: number) => {
    const last = doubts.at(-1)
    // Until a trade settles them, doubts are one.
    if (last && last.settled === null)
      doubts[doubts.length - 1] = { from: Math.min(last.from, from), to: Math.max(last.to, to), settled: null }
    else doubts.push({ from, to, settled: null })
  }
  for (const event of events) {
    if (event.kind === 'frame' && open && event.at - lastMessageAt >= SILENCE_MS && lastGood > 0) {
      broken ??= lastGood
      expected = 0
    }
    if (event.kind !== 'frame') {
      if (lastGood > 0) broken ??= lastGood
      open = event.kind === 'open'
      expected = 0
      lastMessageAt = event.at
      continue
    }
    lastMessageAt = event.at
    const late = event.sequence < expected
    if (firstMessage === 0) firstMessage = minuteOf(event.sent)
    if (broken !== null) {
      doubt(broken - GRACE_MS, event.sent)
      broken = null
    }
    if (event.sequence > expected) {
      doubt((lastGood || event.sent) - GRACE_MS, event.sent)
    }
    if (firstTrade === 0 && doubts.length > 0) lostAtStart = true
    if (!late) {
      expected = event.sequence + 1
      lastGood = Math.max(lastGood, event.sent)
    }
    const own = event.trades.filter((trade) => trade.product === product)
    let news = false
    for (const trade of own) {
      if (firstTrade === 0) firstTrade = minute(trade)
      oldest = Math.min(oldest, minute(trade))
      if (trade.id > highest) news = true
      highest = Math.max(highest, trade.id)
      // What is too old for the fold is left to reconciliation.
      if (minute(trade) >= event.at / 1000 - TRADE_WINDOW_S - 60) delivered.add(trade.id)
    }
    if (news && !late) for (const one of doubts) one.settled ??= event.at
  }
  if (broken !== null || (open && ended - lastMessageAt >= SILENCE_MS))
    doubt((broken ?? lastGood) - GRACE_MS, Number.POSITIVE_INFINITY)
  return { delivered, uncertain: doubts, firstMessage, firstTrade, oldest, lostAtStart }
}

/** Where the trades between two delivered ones were lost, as far as the connection shows: unix ms, and when it was known. */
type MissingTrades = { from: number; to: number; known: number | null }

function findMissingTrades(
  trades: readonly GeneratedTrade[],
  { delivered, uncertain: doubts }: ConnectionSummary,
): MissingTrades[] {
  const losses: MissingTrades[] = []
  let before: GeneratedTrade | null = null
  let missing = false
  for (const trade of trades) {
    if (!delivered.has(trade.id)) {
      missing = true
      continue
    }
    if (before !== null && missing) {
      const [a, b] = [before.us / 1000 - GRACE_MS, trade.us / 1000 + GRACE_MS]
      const around = doubts.filter((one) => one.from <= b && one.to >= a)
      const from = Math.max(minute(before) * 1000, Math.min(...around.map((one) => one.from)))
      const to = Math.min(minute(trade) * 1000 + 60_000, Math.max(...around.map((one) => one.to)))
      const known = around.some((one) => one.settled === null)
        ? null
        : Math.max(...around.map((one) => one.settled as number))
      losses.push({ from, to, known })
    }
    before = trade
    missing = false
  }
  return losses
}

/** Everything in which printed candles differ from what they must be; empty when all is well. */
export function violations(
  recording: GeneratedRecording,
  candles: readonly PrintedCandle[],
  rest: RestCoverage,
): string[] {
  const found: string[] = []
  const keyOf = (c: PrintedCandle) => `${c.product_id} ${c.granularity} ${c.timestamp}`
  const order = (c: PrintedCandle) => GRANULARITY_SECONDS.findIndex(([name]) => name === c.granularity)
  for (const [i, candle] of candles.entries()) {
    const next = candles[i + 1]
    if (next === undefined) break
    const rank =
      candle.product_id < next.product_id
        ? -1
        : candle.product_id > next.product_id
          ? 1
          : order(candle) - order(next) || Number(candle.timestamp) - Number(next.timestamp)
    if (rank >= 0) found.push(`${keyOf(next)}: out of order`)
  }
  const printed = new Map(candles.map((candle) => [keyOf(candle), candle]))
  for (const [product, trades] of recording.trades) {
    const known = summarizeConnection(product, recording.events.get(product) ?? [], recording.ended)
    const { delivered, uncertain: doubts } = known
    const losses = findMissingTrades(trades, known)
    const highest = Math.max(0, ...delivered)
    const starts = Math.min(known.firstMessage, known.firstTrade || Number.POSITIVE_INFINITY)
    /** Up to here nothing is known to be whole without REST. */
    const startTo = known.lostAtStart ? Math.max(known.firstTrade, known.firstMessage) : starts
    for (const [granularity, seconds] of GRANULARITY_SECONDS) {
      const buckets = Map.groupBy(trades, (trade) => minute(trade) - (minute(trade) % seconds))
      for (const [start, bucket] of buckets) {
        const key = `${product} ${granularity} ${start}`
        const candle = printed.get(key)
        printed.delete(key)
        const end = start + seconds
        const held = bucket.filter((trade) => delivered.has(trade.id))
        const inStart = start <= startTo
        const touched = (from: number, to: number) =>
          from < end * 1000 && Math.floor(to / 60_000) * 60_000 + 60_000 > start * 1000
        /** Something about this bucket could not be known, or not healed in time. */
        const open = doubts.some((one) => one.settled === null && touched(one.from, one.to))
        const lost = losses.filter((one) => touched(one.from, one.to))
        const unhealed = lost.some((one) => one.known === null || one.known > recording.ended - 3_000)
        const healable = rest === 'all' ? !(start < starts - (starts % 86_400)) : rest === 'since' && !inStart
        const whole = held.length === bucket.length
        const expected = healable ? bucket : held
        const tail = bucket.some((trade) => trade.id > highest)
        const startOpen = inStart && (recording.ended - recording.began < 200_000 || known.firstTrade === 0)
        if (healable && (open || unhealed || tail || startOpen)) continue
        // What came too late for the fold, of before the recording: no REST answers for it.
        const beyond = bucket.some((trade) => !delivered.has(trade.id) && trade.us < recording.began * 1000)
        if (rest === 'since' && beyond) continue
        if (candle === undefined) {
          if (expected.length > 0 && (rest === 'none' || !inStart || rest === 'all')) found.push(`${key}: is not there`)
          continue
        }
        if (!(rest !== 'none' && inStart && !healable)) {
          if (expected.length === 0) {
            found.push(`${key}: of no trade that came`)
            continue
          }
          const numbers = aggregateTrades(expected)
          for (const field of ['open', 'high', 'low', 'close', 'volume'] as const)
            if (candle[field] !== numbers[field])
              found.push(`${key}: ${field} ${candle[field]} instead of ${numbers[field]}`)
          if (rest === 'none' && candle.last_update !== numbers.last_update)
            found.push(`${key}: last_update ${candle.last_update} instead of ${numbers.last_update}`)
        }
        const closesAt = end * 1000 + GRACE_MS
        if (Math.abs(closesAt - recording.ended) > 1 && candle.is_complete !== closesAt <= recording.ended)
          found.push(`${key}: is_complete ${candle.is_complete}`)
        if (!candle.is_complete && candle.rev !== '0') found.push(`${key}: revision ${candle.rev} while forming`)
        if (healable) {
          if (candle.coverage !== 'full') found.push(`${key}: ${candle.coverage} although REST had everything`)
          continue
        }
        if (inStart) {
          if (start <= Math.min(starts, known.oldest) && candle.coverage === 'full' && rest === 'none')
            found.push(`${key}: full although it holds the start`)
          continue
        }
        if (!whole) {
          const knowable = bucket.every(
            (trade) =>
              delivered.has(trade.id) ||
              trade.id < highest ||
              doubts.some((one) => one.from <= trade.us / 1000 && one.to >= trade.us / 1000),
          )
          if (knowable && candle.coverage !== 'gap')
            found.push(`${key}: ${candle.coverage} although trades are missing`)
        } else if (!open && lost.length === 0 && candle.coverage !== 'full')
          found.push(`${key}: ${candle.coverage} although nothing is missing`)
      }
    }
  }
  for (const key of printed.keys()) found.push(`${key}: of no trade`)
  return found
}
