const DAY_S = 86_400

/**
 * A market as Yahoo names it. Minutes are of the exchange's local day; `pre` and `post` bound the extended hours where
 * there are any. `week` trades around the clock from Monday to Friday, `always` on every day.
 */
export type Venue = {
  code: string
  name: string
  market: string
  zone: string
  /** The zone's short name in winter and in summer. */
  zoneNames: readonly [string, string]
  currency: string
  open: number
  close: number
  extended: { pre: number; post: number } | null
  days: 'weekdays' | 'always'
}

const minuteOfDay = (hours: number, minutes = 0): number => hours * 60 + minutes

const venue = (
  code: string,
  name: string,
  market: string,
  zone: string,
  short: readonly [string, string],
  currency: string,
  open: number,
  close: number,
  more: Partial<Venue> = {},
): Venue => ({
  code,
  name,
  market,
  zone,
  zoneNames: short,
  currency,
  open,
  close,
  extended: null,
  days: 'weekdays',
  ...more,
})

const EASTERN = ['EST', 'EDT'] as const
const CENTRAL = ['CET', 'CEST'] as const
const LONDON = ['GMT', 'BST'] as const
const sameName = (name: string): readonly [string, string] => [name, name]

export const US = venue(
  'NMS',
  'NasdaqGS',
  'us_market',
  'America/New_York',
  EASTERN,
  'USD',
  minuteOfDay(9, 30),
  minuteOfDay(16),
  {
    extended: { pre: minuteOfDay(4), post: minuteOfDay(20) },
  },
)
/** Currencies and futures trade around the clock in the week; crypto always. The last minute ends the day. */
export const CURRENCIES = venue('CCY', 'CCY', 'ccy_market', 'Europe/London', LONDON, 'USD', 0, minuteOfDay(24))
export const FUTURES = venue('CMX', 'COMEX', 'us24_market', 'America/New_York', EASTERN, 'USD', 0, minuteOfDay(24))
export const CRYPTO = venue('CCC', 'CCC', 'ccc_market', 'UTC', sameName('UTC'), 'USD', 0, minuteOfDay(24), {
  days: 'always',
})

/** By the suffix of a symbol. GBp, ZAc and ILA are hundredths. Hours are those of continuous trading. */
export const VENUES: Readonly<Record<string, Venue>> = {
  L: venue('LSE', 'LSE', 'gb_market', 'Europe/London', LONDON, 'GBp', minuteOfDay(8), minuteOfDay(16, 30)),
  IR: venue('ISE', 'Irish', 'ie_market', 'Europe/Dublin', ['GMT', 'IST'], 'EUR', minuteOfDay(8), minuteOfDay(16, 30)),
  DE: venue('GER', 'XETRA', 'de_market', 'Europe/Berlin', CENTRAL, 'EUR', minuteOfDay(9), minuteOfDay(17, 30)),
  F: venue('FRA', 'Frankfurt', 'dr_market', 'Europe/Berlin', CENTRAL, 'EUR', minuteOfDay(8), minuteOfDay(22)),
  PA: venue('PAR', 'Paris', 'fr_market', 'Europe/Paris', CENTRAL, 'EUR', minuteOfDay(9), minuteOfDay(17, 30)),
  AS: venue('AMS', 'Amsterdam', 'nl_market', 'Europe/Amsterdam', CENTRAL, 'EUR', minuteOfDay(9), minuteOfDay(17, 30)),
  BR: venue('BRU', 'Brussels', 'be_market', 'Europe/Brussels', CENTRAL, 'EUR', minuteOfDay(9), minuteOfDay(17, 30)),
  LS: venue('LIS', 'Lisbon', 'pt_market', 'Europe/Lisbon', ['WET', 'WEST'], 'EUR', minuteOfDay(8), minuteOfDay(16, 30)),
  MI: venue('MIL', 'Milan', 'it_market', 'Europe/Rome', CENTRAL, 'EUR', minuteOfDay(9), minuteOfDay(17, 30)),
  MC: venue('MCE', 'MCE', 'es_market', 'Europe/Madrid', CENTRAL, 'EUR', minuteOfDay(9), minuteOfDay(17, 30)),
  VI: venue('VIE', 'Vienna', 'at_market', 'Europe/Vienna', CENTRAL, 'EUR', minuteOfDay(9), minuteOfDay(17, 30)),
  SW: venue('EBS', 'Swiss', 'ch_market', 'Europe/Zurich', CENTRAL, 'CHF', minuteOfDay(9), minuteOfDay(17, 30)),
  ST: venue('STO', 'Stockholm', 'se_market', 'Europe/Stockholm', CENTRAL, 'SEK', minuteOfDay(9), minuteOfDay(17, 30)),
  CO: venue('CPH', 'Copenhagen', 'dk_market', 'Europe/Copenhagen', CENTRAL, 'DKK', minuteOfDay(9), minuteOfDay(17)),
  OL: venue('OSL', 'Oslo', 'no_market', 'Europe/Oslo', CENTRAL, 'NOK', minuteOfDay(9), minuteOfDay(16, 20)),
  HE: venue(
    'HEL',
    'Helsinki',
    'fi_market',
    'Europe/Helsinki',
    ['EET', 'EEST'],
    'EUR',
    minuteOfDay(10),
    minuteOfDay(18, 30),
  ),
  WA: venue('WSE', 'Warsaw', 'pl_market', 'Europe/Warsaw', CENTRAL, 'PLN', minuteOfDay(9), minuteOfDay(17)),
  TO: venue('TOR', 'Toronto', 'ca_market', 'America/Toronto', EASTERN, 'CAD', minuteOfDay(9, 30), minuteOfDay(16)),
  V: venue('VAN', 'TSXV', 'ca_market', 'America/Toronto', EASTERN, 'CAD', minuteOfDay(9, 30), minuteOfDay(16)),
  MX: venue(
    'MEX',
    'Mexico',
    'mx_market',
    'America/Mexico_City',
    sameName('CST'),
    'MXN',
    minuteOfDay(8, 30),
    minuteOfDay(15),
  ),
  SA: venue(
    'SAO',
    'São Paulo',
    'br_market',
    'America/Sao_Paulo',
    sameName('BRT'),
    'BRL',
    minuteOfDay(10),
    minuteOfDay(17),
  ),
  T: venue('JPX', 'Tokyo', 'jp_market', 'Asia/Tokyo', sameName('JST'), 'JPY', minuteOfDay(9), minuteOfDay(15, 30)),
  HK: venue('HKG', 'HKSE', 'hk_market', 'Asia/Hong_Kong', sameName('HKT'), 'HKD', minuteOfDay(9, 30), minuteOfDay(16)),
  SS: venue(
    'SHH',
    'Shanghai',
    'cn_market',
    'Asia/Shanghai',
    sameName('CST'),
    'CNY',
    minuteOfDay(9, 30),
    minuteOfDay(15),
  ),
  SZ: venue(
    'SHZ',
    'Shenzhen',
    'cn_market',
    'Asia/Shanghai',
    sameName('CST'),
    'CNY',
    minuteOfDay(9, 30),
    minuteOfDay(15),
  ),
  TW: venue('TAI', 'Taiwan', 'tw_market', 'Asia/Taipei', sameName('CST'), 'TWD', minuteOfDay(9), minuteOfDay(13, 30)),
  KS: venue('KSC', 'KSE', 'kr_market', 'Asia/Seoul', sameName('KST'), 'KRW', minuteOfDay(9), minuteOfDay(15, 30)),
  KQ: venue('KOE', 'KOSDAQ', 'kr_market', 'Asia/Seoul', sameName('KST'), 'KRW', minuteOfDay(9), minuteOfDay(15, 30)),
  SI: venue('SES', 'SES', 'sg_market', 'Asia/Singapore', sameName('SGT'), 'SGD', minuteOfDay(9), minuteOfDay(17)),
  NS: venue('NSI', 'NSE', 'in_market', 'Asia/Kolkata', sameName('IST'), 'INR', minuteOfDay(9, 15), minuteOfDay(15, 30)),
  BO: venue('BSE', 'BSE', 'in_market', 'Asia/Kolkata', sameName('IST'), 'INR', minuteOfDay(9, 15), minuteOfDay(15, 30)),
  TA: venue(
    'TLV',
    'Tel Aviv',
    'il_market',
    'Asia/Jerusalem',
    ['IST', 'IDT'],
    'ILA',
    minuteOfDay(10),
    minuteOfDay(17, 15),
  ),
  AX: venue('ASX', 'ASX', 'au_market', 'Australia/Sydney', ['AEST', 'AEDT'], 'AUD', minuteOfDay(10), minuteOfDay(16)),
  NZ: venue(
    'NZE',
    'NZSE',
    'nz_market',
    'Pacific/Auckland',
    ['NZST', 'NZDT'],
    'NZD',
    minuteOfDay(10),
    minuteOfDay(16, 45),
  ),
  /** ICE's indices: `DX-Y.NYB` is the dollar against six currencies. */
  NYB: venue('NYB', 'ICE Futures', 'us24_market', 'America/New_York', EASTERN, 'USD', 0, minuteOfDay(24)),
  JO: venue(
    'JNB',
    'Johannesburg',
    'za_market',
    'Africa/Johannesburg',
    sameName('SAST'),
    'ZAc',
    minuteOfDay(9),
    minuteOfDay(17),
  ),
}

const formats = new Map<string, Intl.DateTimeFormat>()
const offsets = new Map<string, number>()

/** Seconds that a zone is ahead of UTC in one hour; looked up once an hour and zone. */
function offsetAt(zone: string, seconds: number): number {
  if (zone === 'UTC') return 0
  const hour = Math.floor(seconds / 3_600)
  const key = `${zone} ${hour}`
  const known = offsets.get(key)
  if (known !== undefined) return known
  let format = formats.get(zone)
  if (!format) {
    format = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' })
    formats.set(zone, format)
  }
  const text = format.formatToParts(hour * 3_600_000).find(({ type }) => type === 'timeZoneName')?.value ?? ''
  const [, sign, hours, minutes] = /GMT([+-])(\d\d):(\d\d)/.exec(text) ?? []
  const offset = (sign === '-' ? -1 : 1) * (Number(hours ?? 0) * 3_600 + Number(minutes ?? 0) * 60)
  offsets.set(key, offset)
  return offset
}

/** The zone's offset at a moment (unix seconds), seconds. */
export const offsetOf = ({ zone }: Venue, seconds: number): number => offsetAt(zone, seconds)

/** The zone's offset in the sessions of a local day: clocks change on Sundays, when no such venue trades. */
const offsetOfDay = ({ zone }: Venue, day: number): number => offsetAt(zone, day * DAY_S + DAY_S / 2)

/** The local calendar day, counted from 1970-01-01, of a moment in unix seconds. */
export const localDay = (venue: Venue, seconds: number): number =>
  Math.floor((seconds + offsetOf(venue, seconds)) / DAY_S)

/** When the venue opens and closes on a local day, unix seconds. */
export function sessionOf(venue: Venue, day: number): { open: number; close: number; pre: number; post: number } {
  const midnight = day * DAY_S - offsetOfDay(venue, day)
  const { pre, post } = venue.extended ?? { pre: venue.open, post: venue.close }
  return {
    open: midnight + venue.open * 60,
    close: midnight + venue.close * 60,
    pre: midnight + pre * 60,
    post: midnight + post * 60,
  }
}

/** `2025-12-03` of a local day. */
export const dateOf = (day: number): string => new Date(day * DAY_S * 1000).toISOString().slice(0, 10)
export const dayOf = (date: string): number => Date.parse(`${date}T00:00:00Z`) / (DAY_S * 1000)

const HOLIDAYS = new Set(
  Array.from({ length: 200 }, (_, i) => [dayOf(`${1900 + i}-01-01`), dayOf(`${1900 + i}-12-25`)]).flat(),
)

/** True if the venue trades on a local day: not on weekends, New Year and Christmas. */
export function isTradingDay(venue: Venue, day: number): boolean {
  if (venue.days === 'always') return true
  const weekday = (((day + 4) % 7) + 7) % 7
  return weekday !== 0 && weekday !== 6 && !HOLIDAYS.has(day)
}

/** The last day of trading before a day, and the first one not before it. */
export function previousTradingDay(venue: Venue, day: number): number {
  let d = day - 1
  while (!isTradingDay(venue, d)) d--
  return d
}
export function tradingDayFrom(venue: Venue, day: number): number {
  let d = day
  while (!isTradingDay(venue, d)) d++
  return d
}

/** The zone's short name at a moment. */
export function zoneName(venue: Venue, seconds: number): string {
  const january = offsetAt(venue.zone, Date.UTC(new Date(seconds * 1000).getUTCFullYear(), 0, 15) / 1000)
  const july = offsetAt(venue.zone, Date.UTC(new Date(seconds * 1000).getUTCFullYear(), 6, 15) / 1000)
  return venue.zoneNames[offsetOf(venue, seconds) === Math.min(january, july) ? 0 : 1]
}
