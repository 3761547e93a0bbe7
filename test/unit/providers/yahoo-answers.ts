import { fixture } from '../../support/recordings.ts'
import type { Canned } from './contract.ts'

/** The body of a recorded exchange with Yahoo. */
export const yahooBody = (file: string): unknown => JSON.parse(fixture(`yahoo/${file}`)).response.bodyJson

export const CRUMB = 'aB3./xYz9Qw'
export const COOKIE = 'A3=d=AQAB&S=AQAA; Domain=.yahoo.com; Path=/; Secure; Expires=Fri, 01 Jan 2100 00:00:00 GMT'

/** The page and the crumb that come before quotes; null: the address is of something else. */
export function session(url: string): Canned | null {
  const { pathname } = new URL(url)
  if (pathname.startsWith('/quote/')) return { body: '<html></html>', headers: { 'set-cookie': COOKIE } }
  return pathname === '/v1/test/getcrumb' ? { body: CRUMB } : null
}
