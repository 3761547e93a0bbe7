/** Microseconds since 1970 of an RFC 3339 time, the resolution of Postgres. */
export function parseMicros(time: string): number {
  const [, second = '', fraction = '', zone = ''] = /^([^.Zz+]*\d\d:\d\d:\d\d)(?:\.(\d+))?(.*)$/.exec(time) ?? []
  const micros = fraction === '' ? 0 : Math.round(Number(`0.${fraction}`) * 1e6)
  return Date.parse(second + zone) * 1000 + micros
}

/** The day (`2020-08-31`) of a time, in UTC. */
export const utcDay = (time: string): string =>
  time.endsWith('Z') ? time.slice(0, 10) : new Date(time).toISOString().slice(0, 10)
