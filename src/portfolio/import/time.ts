/** The order of 03/04/2024: day first, or month first as in the United States. */
export type DayOrder = 'dmy' | 'mdy'

export type TimeResult = { ok: true; at: string } | { ok: false; message: string }

const CLOCK = String.raw`(?:[T;, ]\s*(\d{1,2}):?(\d{2})(?::?(\d{2})(?:[.,](\d{1,9}))?)?)?\s*(Z|UTC|GMT|[-+]\d{2}:?\d{2})?`
const YEAR_FIRST = new RegExp(String.raw`^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})${CLOCK}$`, 'i')
const DIGITS = new RegExp(String.raw`^(\d{4})(\d{2})(\d{2})${CLOCK}$`, 'i')
const YEAR_LAST = new RegExp(String.raw`^(\d{1,2})([-/.])(\d{1,2})\2(\d{4})${CLOCK}$`, 'i')
const SHORT_YEAR = /^\d{1,2}[-/.]\d{1,2}[-/.]\d{2}(?!\d)/

const DATE_FORMATS = 'must be a day such as 2024-01-31, 31-01-2024, 31/01/2024, 31.01.2024 or 20240131'

/**
 * Parses a time to RFC 3339 in UTC, to the microsecond. A date alone is its midnight; a time without a zone is UTC.
 * `ok: false` comes with the reason.
 */
export function parseTime(text: string, order: DayOrder): TimeResult {
  const given = text.trim()
  const first = YEAR_FIRST.exec(given) ?? DIGITS.exec(given)
  if (first) return buildTime(first.slice(1, 4), first.slice(4))
  const last = YEAR_LAST.exec(given)
  if (last) {
    const [, a, , b, year] = last
    return buildTime(order === 'dmy' ? [year, b, a] : [year, a, b], last.slice(5))
  }
  if (SHORT_YEAR.test(given)) return { ok: false, message: `${given.slice(0, 40)}: a year must have four digits` }
  return { ok: false, message: given === '' ? 'is missing' : `${given.slice(0, 40)}: ${DATE_FORMATS}` }
}

type Parts = readonly (string | undefined)[]

function buildTime(
  [year, month, day]: Parts,
  [hours = '0', minutes = '00', seconds = '00', fraction = '', zone]: Parts,
): TimeResult {
  const [mm, dd, hh] = [month, day, hours].map((part) => part?.padStart(2, '0'))
  const time = `${year}-${mm}-${dd}T${hh}:${minutes}:${seconds}`
  const at = Date.parse(`${time}Z`)
  // `2024-02-30` and `24:00` are valid for Date.parse, which moves them to the next day.
  const exists = !Number.isNaN(at) && new Date(at).toISOString().startsWith(time)
  if (!exists || time < '1900' || time >= '2200')
    return { ok: false, message: `${[year, month, day].join('-')}: not a valid date` }
  const text = new Date(at - zoneOffsetMs(zone)).toISOString().slice(0, 19)
  const micros = fraction.slice(0, 6).replace(/0+$/, '')
  return { ok: true, at: `${text}${micros === '' ? '' : `.${micros}`}Z` }
}

/** Milliseconds that a zone is ahead of UTC. */
function zoneOffsetMs(zone: string | undefined): number {
  const [, sign, hours, minutes] = /^([-+])(\d{2}):?(\d{2})$/.exec(zone ?? '') ?? []
  const ahead = (Number(hours ?? 0) * 60 + Number(minutes ?? 0)) * 60_000
  return sign === '-' ? -ahead : ahead
}

/** The order of dates with slashes in a file: month first only if a date allows no other order. */
export function detectDayOrder(texts: Iterable<string>): DayOrder {
  let order: DayOrder = 'dmy'
  for (const text of texts) {
    const [, a, b] = /^(\d{1,2})\/(\d{1,2})\/\d{4}/.exec(text.trim()) ?? []
    if (Number(a) > 12) return 'dmy'
    if (Number(b) > 12) order = 'mdy'
  }
  return order
}
