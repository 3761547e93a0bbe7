import { levelAt, productSeed } from '../exchange/market.ts'
import { hashText, lattice, mix } from '../exchange/random.ts'
import type { Instrument } from './instruments.ts'
import { dateOf, dayOf, isTradingDay, localDay, previousTradingDay, sessionOf, tradingDayFrom } from './venues.ts'

/** The price moves every so many seconds of a session. */
const SLOT_S = 15
const DAY_S = 86_400

/** Prices in units of the last decimal, on the basis of that day (raw); `volume` in whole shares or coins. */
export type DayBar = { day: number; open: number; high: number; low: number; close: number; volume: number }

/** The same with a start in unix seconds. */
export type Bar = Omit<DayBar, 'day'> & { start: number }

/** How a day goes: it opens, touches its extremes in two slots, and closes in its last one. */
type DayPath = DayBar & { highSlot: number; lowSlot: number; slots: number; seed: number }

/** The last or present day of trading as far as it has come. `time` is unix seconds, `previousClose` in today's shares. */
export type CurrentDay = DayBar & {
  price: number
  previousClose: number
  time: number
  /** True during its trading session. */
  inSession: boolean
  state: 'open' | 'closed' | 'pre' | 'post'
}

export type Dividend = { day: number; amount: number }

/** Waves of a day's close: period in days, amplitude as a part of the level. Together they stay within a half of it. */
const OCTAVES = [
  [900, 0.17],
  [260, 0.12],
  [90, 0.07],
  [30, 0.045],
  [10, 0.025],
  [4, 0.014],
  [1, 0.01],
] as const

/** Before this day a price has stood at a third of its level, and has risen evenly since. */
const TREND_FROM = dayOf('2003-01-01')
const TREND_TO = dayOf('2026-01-01')

/**
 * Prices that follow from the seed, the instrument and the time alone. A day is made without its slots and each slot
 * without the others, and still the day is the exact fold of its slots: the extremes are drawn first, then placed.
 */
export function openPrices(seedText: string) {
  const seeds = new Map<string, number>()
  const seedOf = ({ id }: Instrument): number => {
    const known = seeds.get(id)
    if (known !== undefined) return known
    const made = mix(hashText(`${seedText} prices`), hashText(id))
    seeds.set(id, made)
    return made
  }

  /** The price at the end of a day, in today's shares. */
  const anchor = (instrument: Instrument, day: number): number => {
    // The pairs of the simulated exchange go with its own waves, so that one coin costs about the same everywhere.
    if (instrument.kind === 'crypto')
      return levelAt(
        productSeed(seedText, instrument.waves),
        { price: instrument.level, liveliness: instrument.liveliness },
        (day + 1) * DAY_S * 1000,
      )
    const seed = seedOf(instrument)
    let sum = 0
    for (const [i, [period, amplitude]] of OCTAVES.entries()) {
      const index = Math.floor(day / period)
      const f = day / period - index
      const own = mix(seed, i)
      const from = lattice(own, index)
      sum += amplitude * (from + (lattice(own, index + 1) - from) * f * f * (3 - 2 * f))
    }
    const risen = Math.min(1, Math.max(0, (day - TREND_FROM) / (TREND_TO - TREND_FROM)))
    const trend = instrument.kind === 'stock' || instrument.kind === 'etf' ? (1 + 2 * risen) / 3 : 1
    return instrument.level * trend * (1 + sum * instrument.liveliness)
  }

  /** Shares of today that one of `day` has become, by splits after it and not after `until`. */
  const sharesSince = ({ splits }: Instrument, day: number, until = Number.POSITIVE_INFINITY): number => {
    let shares = 1
    for (const split of splits) if (split.day > day && split.day <= until) shares *= split.numerator / split.denominator
    return shares
  }

  const path = (instrument: Instrument, day: number): DayPath => {
    const { venue, kind, liveliness, decimals } = instrument
    const seed = mix(seedOf(instrument), day)
    const before = anchor(instrument, previousTradingDay(venue, day))
    const around = venue.close - venue.open === 1_440
    const opening = before * (1 + (around ? 0 : lattice(seed, 1) * 0.006 * liveliness))
    const closing = anchor(instrument, day)
    const reach = 0.01 * liveliness
    const top = Math.max(opening, closing) * (1 + ((lattice(seed, 2) + 1) / 2) * reach)
    const bottom = Math.min(opening, closing) * (1 - ((lattice(seed, 3) + 1) / 2) * reach)
    const unit = 10 ** decimals * sharesSince(instrument, day)
    const units = (price: number) => Math.max(1, Math.round(price * unit))
    const slots = Math.max(8, ((venue.close - venue.open) * 60) / SLOT_S)
    const highSlot = 1 + (mix(seed, 4) % (slots - 2))
    const placed = 1 + (mix(seed, 5) % (slots - 2))
    const lowSlot = placed === highSlot ? 1 + (highSlot % (slots - 2)) : placed
    // Shares of a usual day; of a coin, as many as cost three hundred times as much in dollars.
    const shares = 10 ** (5 + ((lattice(mix(seedOf(instrument), 77), 0) + 1) / 2) * 2.6)
    const busy = kind === 'crypto' ? (shares * 300) / instrument.level : shares
    const volume = kind === 'forex' || kind === 'fund' ? 0 : Math.ceil(busy * (1.2 + lattice(seed, 6)))
    const close = units(closing)
    if (kind === 'fund')
      return { day, open: close, high: close, low: close, close, volume, highSlot: 1, lowSlot: 2, slots, seed }
    return {
      day,
      open: units(opening),
      high: units(top),
      low: units(bottom),
      close,
      volume,
      highSlot,
      lowSlot,
      slots,
      seed,
    }
  }

  /** The price of one slot of a day: a line from one known slot to the next with some noise, never out of the range. */
  const slotPrice = (p: DayPath, slot: number): number => {
    const [first, firstAt, second, secondAt] =
      p.highSlot < p.lowSlot ? [p.high, p.highSlot, p.low, p.lowSlot] : [p.low, p.lowSlot, p.high, p.highSlot]
    const last = p.slots - 1
    const [from, fromAt, to, toAt] =
      slot <= firstAt
        ? [p.open, 0, first, firstAt]
        : slot <= secondAt
          ? [first, firstAt, second, secondAt]
          : [second, secondAt, p.close, last]
    if (slot === fromAt) return from
    if (slot === toAt) return to
    const line = from + ((to - from) * (slot - fromAt)) / (toAt - fromAt)
    const noise =
      (lattice(p.seed, 1_000 + slot) * 0.05 + lattice(p.seed, 90_000 + (slot >> 4)) * 0.12) * (p.high - p.low)
    return Math.min(p.high, Math.max(p.low, Math.round(line + noise)))
  }

  const volumeBy = (p: DayPath, slot: number): number => Math.floor((p.volume * (slot + 1)) / p.slots)

  /** Slots from..to (inclusive) of a day as one bar. */
  const fold = (p: DayPath, from: number, to: number): Omit<DayBar, 'day'> => {
    const open = slotPrice(p, from)
    let [high, low, close] = [open, open, open]
    for (let slot = from + 1; slot <= to; slot++) {
      close = slotPrice(p, slot)
      if (close > high) high = close
      if (close < low) low = close
    }
    return { open, high, low, close, volume: volumeBy(p, to) - (from === 0 ? 0 : volumeBy(p, from - 1)) }
  }

  /** The running day of each instrument as far as it was asked for: a quote a second must not fold the whole day. */
  const running = new Map<string, { path: DayPath; slot: number; high: number; low: number }>()

  const soFar = (instrument: Instrument, day: number, slot: number) => {
    const known = running.get(instrument.id)
    const state =
      known && known.path.day === day && known.slot <= slot
        ? known
        : { path: path(instrument, day), slot: -1, high: 0, low: Number.POSITIVE_INFINITY }
    running.set(instrument.id, state)
    for (; state.slot < slot; state.slot++) {
      const price = slotPrice(state.path, state.slot + 1)
      if (price > state.high) state.high = price
      if (price < state.low) state.low = price
    }
    return state
  }

  const stateAt = ({ venue }: Instrument, day: number, seconds: number): CurrentDay['state'] => {
    if (!isTradingDay(venue, day)) return 'closed'
    const { open, close, pre, post } = sessionOf(venue, day)
    if (seconds >= open && seconds < close) return 'open'
    if (seconds >= pre && seconds < open) return 'pre'
    return seconds >= close && seconds < post ? 'post' : 'closed'
  }

  return {
    sharesSince,

    /** A price that moves around `price` by at most a thousandth of it. */
    jitter: (instrument: Instrument, price: number, seconds: number): number =>
      Math.max(1, Math.round(price * (1 + 0.001 * lattice(mix(seedOf(instrument), 99), Math.floor(seconds / SLOT_S))))),

    /** One whole day; null where the instrument did not trade on it. */
    day(instrument: Instrument, day: number): DayBar | null {
      if (day < instrument.firstDay || !isTradingDay(instrument.venue, day)) return null
      const { open, high, low, close, volume } = path(instrument, day)
      return { day, open, high, low, close, volume }
    },

    /** How it stands at a moment (unix seconds); null before its first session. */
    currentDay(instrument: Instrument, seconds: number): CurrentDay | null {
      const { venue, kind } = instrument
      const today = localDay(venue, seconds)
      const state = stateAt(instrument, today, seconds)
      const session = sessionOf(venue, today)
      const begun = isTradingDay(venue, today) && seconds >= (kind === 'fund' ? session.close : session.open)
      const day = begun ? today : previousTradingDay(venue, today)
      if (day < instrument.firstDay) return null
      const { open, close } = sessionOf(venue, day)
      const over = seconds >= close
      const slots = Math.max(8, (close - open) / SLOT_S)
      const slot = over ? slots - 1 : Math.floor((seconds - open) / SLOT_S)
      const known = over ? null : soFar(instrument, day, slot)
      const p = known?.path ?? path(instrument, day)
      const before = previousTradingDay(venue, day)
      const previous = before < instrument.firstDay ? p.open : path(instrument, before).close
      const shares = sharesSince(instrument, before, day)
      return {
        day,
        open: p.open,
        high: known?.high ?? p.high,
        low: known?.low ?? p.low,
        close: slotPrice(p, slot),
        price: slotPrice(p, slot),
        volume: volumeBy(p, slot),
        previousClose: shares === 1 ? previous : Math.round(previous / shares),
        time: over ? close : open + slot * SLOT_S,
        inSession: !over,
        state,
      }
    },

    /** The price at a moment, of the day before if its day has not opened; null before the first day. */
    priceAt(instrument: Instrument, seconds: number): number | null {
      const day = localDay(instrument.venue, seconds)
      const { open, close } = sessionOf(instrument.venue, day)
      if (isTradingDay(instrument.venue, day) && seconds >= open && day >= instrument.firstDay) {
        const p = path(instrument, day)
        return seconds >= close ? p.close : slotPrice(p, Math.floor((seconds - open) / SLOT_S))
      }
      const before = previousTradingDay(instrument.venue, day)
      return before < instrument.firstDay ? null : path(instrument, before).close
    },

    /** The last 24 hours of a pair that always trades; null before it has had them. */
    last24Hours(instrument: Instrument, seconds: number): (Omit<DayBar, 'day'> & { time: number }) | null {
      const today = Math.floor(seconds / DAY_S)
      if (today - 1 < instrument.firstDay) return null
      const slot = Math.floor((seconds - today * DAY_S) / SLOT_S)
      const known = soFar(instrument, today, slot)
      const yesterday = path(instrument, today - 1)
      const old = slot + 1 < yesterday.slots ? fold(yesterday, slot + 1, yesterday.slots - 1) : null
      return {
        open: old?.open ?? known.path.open,
        high: Math.max(old?.high ?? 0, known.high),
        low: Math.min(old?.low ?? known.low, known.low),
        close: slotPrice(known.path, slot),
        volume: (old?.volume ?? 0) + volumeBy(known.path, slot),
        time: today * DAY_S + slot * SLOT_S,
      }
    },

    /** Bars of `length` seconds (a multiple of 15) of the sessions in [from, to), as far as they have come by `now`. */
    bars(instrument: Instrument, length: number, from: number, to: number, now: number): Bar[] {
      const { venue, kind } = instrument
      const found: Bar[] = []
      if (kind === 'fund') return found
      const first = Math.max(instrument.firstDay, localDay(venue, from))
      for (let day = tradingDayFrom(venue, first); ; day = tradingDayFrom(venue, day + 1)) {
        const { open, close } = sessionOf(venue, day)
        if (open >= to || open > now) return found
        const p = path(instrument, day)
        for (let start = open; start < close && start <= now; start += length) {
          if (start < from || start >= to) continue
          const slot = (start - open) / SLOT_S
          const end = Math.min(start + length, close, (Math.floor((now - open) / SLOT_S) + 1) * SLOT_S + open)
          found.push({ start, ...fold(p, slot, (end - open) / SLOT_S - 1) })
        }
      }
    },

    /** Dividends with ex-days in [from, to], amounts in units of the last decimal, on the basis of their day. */
    dividends(instrument: Instrument, from: number, to: number): Dividend[] {
      const { payouts, venue } = instrument
      if (!payouts) return []
      const found: Dividend[] = []
      const start = Math.max(from, instrument.firstDay + 1)
      for (let year = Number(dateOf(start).slice(0, 4)); year <= Number(dateOf(to).slice(0, 4)); year++)
        for (let k = 0; k < payouts.perYear; k++) {
          const month = payouts.firstMonth + (k * 12) / payouts.perYear
          const day = tradingDayFrom(venue, Date.UTC(year, month, payouts.dayOfMonth) / (DAY_S * 1000))
          if (day < start || day > to) continue
          const price = path(instrument, previousTradingDay(venue, day)).close
          const shares = sharesSince(instrument, previousTradingDay(venue, day), day)
          found.push({ day, amount: Math.max(1, Math.round((price / shares) * payouts.part)) })
        }
      return found
    },
  }
}

export type Prices = ReturnType<typeof openPrices>
