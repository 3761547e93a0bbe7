import { type Context, Hono } from 'hono'
import { settings } from '../../config.ts'
import { staleOf } from '../../pricing/freshness.ts'
import { normalName } from '../../pricing/symbol.ts'
import { CodedError } from '../../protocol/errors.ts'
import { quoteText, type StaleReason } from '../../protocol/quote.ts'
import { jsonBody } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { priceInput, symbolsInput } from '../http/input.ts'
import { lookupAllowed, tooManyLookups } from '../http/rate-limits.ts'
import { discover, type Known, lookUp, quoteAtHand } from './cache.ts'

/** Names that no asset has, of one request for many prices, that the providers are asked about. */
const MAX_DISCOVERED = 5

const WHY: Readonly<Record<StaleReason, string>> = {
  expired: 'it is being asked for',
  rate_limited: 'the provider allows no more requests for now',
  unavailable: 'no provider answers',
  invalid: 'what the provider answers cannot be used',
  unknown: 'no provider knows it any more',
}

/** Why a look has no price, as the problem that it is. */
export function problemOf(look: Exclude<Known, { kind: 'quote' }>): CodedError {
  const { name } = look
  switch (look.kind) {
    case 'unknown':
      return new CodedError('unknown_symbol', `no asset is called ${name}, and no provider knows it`, {
        errors: [{ field: 'symbol', message: `${name} is not known` }],
      })
    case 'ambiguous': {
      const meant = look.candidates.map(({ name_for_it }) => name_for_it).join(', ')
      return new CodedError('ambiguous_symbol', `${name} means several assets: ask for one of ${meant}`, {
        candidates: look.candidates,
      })
    }
    case 'unpriced':
      return new CodedError('unavailable', `there is no price of ${look.symbol} yet: ${WHY[look.reason]}`, {
        retryAfter: Math.max(1, Math.ceil(look.retryAfter)),
      })
  }
}

/**
 * What is known of a name, with the providers asked where no asset has it.
 * @param name as `normalName` gives it
 * @throws CodedError `too_many_requests` for a client that has asked for too many such names
 */
export async function findLook(c: Context<AppEnv>, name: string): Promise<Known> {
  const [look] = await lookUp(c.env, [name])
  if (look && (look.kind !== 'unknown' || look.asked)) return look
  if (!(await lookupAllowed(c))) throw tooManyLookups()
  return discover(c.env, name)
}

const JSON_HEADERS = { 'content-type': 'application/json', 'cache-control': 'no-cache' } as const
const QUERY = '?symbol='

/** The symbol of a query that holds nothing else and needs no decoding: nearly every one. */
function plainSymbol(url: string): string | null {
  const at = url.indexOf('?')
  if (at === -1 || !url.startsWith(QUERY, at)) return null
  const text = url.slice(at + QUERY.length)
  return /^[A-Z0-9.^=_:-]+$/.test(text) ? text : null
}

/** One symbol of many: its quote under the name that was asked for, or why there is none. */
type Answer = { text: string; layer: 'cached' | 'fetched' | null }

/** A quote's text begins with the asset's own symbol; the client looks for the one that it wrote. */
function asAsked(text: string, asked: string): string {
  const end = text.indexOf('","price":')
  return `{"symbol":${JSON.stringify(asked)}${text.slice(end + 1)}`
}

function failed(asked: string, { code, message, candidates }: CodedError): Answer {
  const error = { code, message, ...(candidates && { candidates }) }
  return { text: JSON.stringify({ symbol: asked, error }), layer: null }
}

function answerOf(asked: string, look: Known | undefined, now: number): Answer {
  if (look === undefined) {
    const message = `${asked.slice(0, 100)} can be no symbol: one is written like AAPL`
    return failed(asked, new CodedError('unknown_symbol', message))
  }
  if (look.kind === 'unknown' && !look.asked) {
    const message = `no asset is called ${look.name}; the providers were not asked about it: GET /get-price does`
    return failed(asked, new CodedError('too_many_requests', message))
  }
  if (look.kind !== 'quote') return failed(asked, problemOf(look))
  const text = asAsked(quoteText(look.quote, look.source, staleOf(look, now)), asked)
  return { text, layer: look.source === 'provider' ? 'fetched' : 'cached' }
}

/** What is known of many names; of those that no asset has, the providers are asked about a few. */
async function findLooks(c: Context<AppEnv>, names: readonly string[], now: number): Promise<Map<string, Known>> {
  const looks = new Map<string, Known>((await lookUp(c.env, names, now)).map((look) => [look.name, look]))
  const unknown = [...looks.values()].filter((look) => look.kind === 'unknown' && !look.asked).slice(0, MAX_DISCOVERED)
  const found = unknown.map(async ({ name }) => {
    if (await lookupAllowed(c)) looks.set(name, await discover(c.env, name))
  })
  await Promise.all(found)
  return looks
}

/** `GET /get-price` and `POST /get-batch-prices` (brief 001). */
export const prices = new Hono<AppEnv>()
  .get('/get-price', async (c) => {
    const now = Date.now()
    // Nearly every request ends here: a look into a map, and a text that is there.
    const plain = plainSymbol(c.req.url)
    const atHand = plain === null ? null : quoteAtHand(c.env, plain, now)
    if (atHand !== null) return new Response(atHand, { headers: JSON_HEADERS })
    const name = priceInput(new URL(c.req.url).searchParams)
    const known = quoteAtHand(c.env, name, now)
    if (known !== null) return new Response(known, { headers: JSON_HEADERS })
    const look = await findLook(c, name)
    if (look.kind !== 'quote') throw problemOf(look)
    const text = quoteText(look.quote, look.source, staleOf(look, Date.now()))
    return new Response(text, { headers: JSON_HEADERS })
  })
  .post('/get-batch-prices', async (c) => {
    const symbols = symbolsInput(await jsonBody(c), settings(c.env))
    const names = symbols.map(normalName)
    const wanted = [...new Set(names.filter((name) => name !== null))]
    const looks = await findLooks(c, wanted, Date.now())
    const now = Date.now()
    const answers = symbols.map((asked, i) => answerOf(asked, looks.get(names[i] ?? ''), now))
    const count = (layer: Answer['layer']) => answers.filter((answer) => answer.layer === layer).length
    const body = `{"prices":[${answers.map(({ text }) => text).join(',')}],"cached":${count('cached')},"fetched":${count('fetched')},"total":${answers.length}}`
    return c.body(body, 200, JSON_HEADERS)
  })
