import { recordedCode } from './renamed-codes.ts'

/** Times from this year on come from the run and become placeholders. Times that the test sends are older. */
const FIRST_YEAR_OF_RUNS = 2022
const FIRST_SECOND_OF_RUNS = Date.UTC(FIRST_YEAR_OF_RUNS) / 1_000

/** Keys whose values are wording. */
const WORDING = new Set(['detail', 'title', 'message', 'description'])

/** Keys whose values differ between runs. */
const OF_THE_RUN = new Set(['request_id', 'kid', 'x', 'y', 'next_cursor', 'ms', 'age_seconds', 'actions_version'])

/** Keys whose values follow the simulated market. `OF_A_QUOTE` holds those that other objects use for stable values. */
const OF_THE_MARKET = new Set(['day_change', 'day_change_percent', 'market_state', 'pe_ratio'])
const OF_A_QUOTE = new Set(['previous_close', 'change24h', 'open', 'high', 'low', 'volume', 'eps'])

/** Replaces what differs between runs in one answer with placeholders. Equal ids of an answer get equal numbers. */
export function normaliser() {
  const ids = new Map<string, number>()
  const idOf = (id: string): string => {
    if (!ids.has(id)) ids.set(id, ids.size + 1)
    return `<uuid ${ids.get(id)}>`
  }
  const since = (text: string, placeholder: string): string =>
    Number(text.slice(0, 4)) >= FIRST_YEAR_OF_RUNS ? placeholder : text

  /** Text with placeholders for ids, times and tokens. */
  const text = (given: string): string =>
    given
      .replaceAll(/eyJ[\w-]+\.[\w-]+\.[\w-]+/g, '<token>')
      .replaceAll(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[\w-]{16,}/g, '<ticket>')
      .replaceAll(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, idOf)
      .replaceAll(/\b\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)/g, (time) =>
        since(time, '<time>'),
      )
      .replaceAll(/\b\d{4}-\d\d-\d\d\b/g, (date) => since(date, '<date>'))
      .replaceAll(/(?<![\d.])1[6-9]\d{11}(?![\d.])/g, '<milliseconds>')
      .replaceAll(/(?<![\d.])1[6-9]\d{8}(?![\d.])/g, (seconds) =>
        Number(seconds) < FIRST_SECOND_OF_RUNS ? seconds : '<seconds>',
      )
      .replaceAll(/urn:kerb:problem:(\w+)/g, (_, code) => `urn:kerb:problem:${recordedCode(code)}`)

  /** `quotes:k2j-5,ONE-USD:x1-0` with placeholders, its sources sorted: they have no fixed order. */
  const position = (given: string): string =>
    given
      .split(',')
      .map((part) => part.replace(/(^|:)[a-z0-9]{1,32}-\d{1,15}$/, '$1<epoch>-<offset>'))
      .sort()
      .join()

  const member = (of: object, name: string, item: unknown): unknown => {
    const moves = OF_THE_MARKET.has(name) || ('previous_close' in of && OF_A_QUOTE.has(name))
    return moves && item !== null ? `<${typeof item}>` : value(item, name)
  }

  const value = (given: unknown, key = ''): unknown => {
    if (given === null || typeof given === 'boolean') return given
    if (Array.isArray(given)) return given.map((item) => value(item, key))
    if (typeof given === 'object')
      return Object.fromEntries(Object.entries(given).map(([name, item]) => [text(name), member(given, name, item)]))
    if (OF_THE_RUN.has(key)) return `<${key}>`
    if (typeof given === 'number') {
      const known = text(`${given}`)
      return known.startsWith('<') ? known : given
    }
    const words = given as string
    if (WORDING.has(key)) return '<text>'
    if (key === 'code') return recordedCode(words)
    if (key === 'position') return position(words)
    if (key === 'version') return '<version>'
    return text(words)
  }

  /** Parsed JSON text with placeholders. A number that JavaScript would write otherwise becomes text: `number 93500.00`. */
  const json = (given: string): unknown => value(JSON.parse(given, exactNumber))

  return { text, position, value, json }
}

/** A `JSON.parse` reviver that preserves the digits of numbers. */
function exactNumber(_: string, given: unknown, { source }: { source?: string } = {}): unknown {
  return typeof given === 'number' && source !== undefined && source !== `${given}` ? `number ${source}` : given
}

/** Headers that are not compared here. `set-cookie` has its own form. */
const EXCLUDED = new Set(['content-length', 'date', 'set-cookie'])

/** The keys and types of a value. Items of a list with equal shapes appear once. */
export function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item) => JSON.stringify(shapeOf(item)))
    return [...new Set(items)].sort().map((item) => JSON.parse(item))
  }
  if (value === null || typeof value !== 'object') return value === null ? null : `<${typeof value}>`
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, shapeOf(item)]))
}

/** The keys of a value, and of the first item of each list. */
export function keysOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(keysOf)
  if (value === null || typeof value !== 'object') return '<value>'
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, keysOf(item)]))
}

/** A body with only the shape of `data`: the number and values of its items depend on the day. */
export const seriesOf = (body: object): object => ({
  ...body,
  data: shapeOf((body as { data?: unknown }).data),
  ...('count' in body && { count: '<number>' }),
})

/** A cookie's name and attributes, and whether it has a value. */
const cookie = (line: string): string => line.replace(/=([^;]*)/, (_, value) => (value === '' ? '=' : '=<secret>'))

/** The headers of an answer with placeholders; of `retry-after` only its presence. */
export function headersOf(response: Response, { text }: ReturnType<typeof normaliser>): Record<string, unknown> {
  const compared = [...response.headers].filter(([name]) => !EXCLUDED.has(name))
  const known = (name: string, given: string) =>
    name === 'retry-after' ? '<seconds>' : text(given).replace(/(?<=")(?:[0-9a-f]{8}-)?[0-9a-f]{24}(?=")/, '<digest>')
  const cookies = response.headers.getSetCookie().map(cookie)
  return {
    ...Object.fromEntries(compared.map(([name, given]) => [name, known(name, given)])),
    ...(cookies.length > 0 && { 'set-cookie': cookies }),
  }
}
