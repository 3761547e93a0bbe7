import { type Context, Hono } from 'hono'
import { readSettings } from '../../config.ts'
import { staleReason } from '../../pricing/freshness.ts'
import { normalizeName } from '../../pricing/symbol.ts'
import { CodedError } from '../../protocol/errors.ts'
import { formatQuote, type StaleReason } from '../../protocol/quote.ts'
import { readJson } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { parsePriceInput, parseSymbolsInput } from '../http/input.ts'
import { isLookupAllowed, lookupLimitError } from '../http/rate-limits.ts'
import { cachedQuoteText, discoverQuote, lookupQuotes, type ResolvedLookup } from './cache.ts'

/** Names that no asset has, of one request for many prices, that the providers are asked about. */
const MAX_DISCOVERED = 5

const STALE_REASON_TEXT: Readonly<Record<StaleReason, string>> = {
  expired: 'it is being asked for',
  rate_limited: 'the provider allows no more requests for now',
  unavailable: 'no provider answers',
  invalid: 'what the provider answers cannot be used',
  unknown: 'no provider knows it any more',
}

/** Why a look has no price, as the problem that it is. */
export function lookupError(look: Exclude<ResolvedLookup, { kind: 'quote' }>): CodedError {
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
      return new CodedError(
        'unavailable',
        `there is no price of ${look.symbol} yet: ${STALE_REASON_TEXT[look.reason]}`,
        {
          retryAfter: Math.max(1, Math.ceil(look.retryAfter)),
        },
      )
  }
}

/**
 * What is known of a name, with the providers asked where no asset has it.
 * @param name as `normalName` gives it
 * @throws CodedError `too_many_requests` for a client that has asked for too many such names
 */
export async function lookupOrDiscover(c: Context<AppEnv>, name: string): Promise<ResolvedLookup> {
  const [look] = await lookupQuotes(c.env, [name])
  if (look && (look.kind !== 'unknown' || look.asked)) return look
  if (!(await isLookupAllowed(c))) throw lookupLimitError()
  return discoverQuote(c.env, name)
}

const JSON_HEADERS = { 'content-type': 'application/json', 'cache-control': 'no-cache' } as const
const SYMBOL_QUERY = '?symbol='

/** The symbol of a query that holds nothing else and needs no decoding: nearly every one. */
function plainSymbol(url: string): string | null {
  const at = url.indexOf('?')
  if (at === -1 || !url.startsWith(SYMBOL_QUERY, at)) return null
  const text = url.slice(at + SYMBOL_QUERY.length)
  return /^[A-Z0-9.^=_:-]+$/.test(text) ? text : null
}

/** One symbol of many: its quote under the name that was asked for, or why there is none. */
type BatchEntry = { text: string; layer: 'cached' | 'fetched' | null }

/** A quote's text begins with the asset's own symbol; the client looks for the one that it wrote. */
function withSymbol(text: string, asked: string): string {
  const end = text.indexOf('","price":')
  return `{"symbol":${JSON.stringify(asked)}${text.slice(end + 1)}`
}

function failedEntry(asked: string, { code, message, candidates }: CodedError): BatchEntry {
  const error = { code, message, ...(candidates && { candidates }) }
  return { text: JSON.stringify({ symbol: asked, error }), layer: null }
}

function toBatchEntry(asked: string, look: ResolvedLookup | undefined, now: number): BatchEntry {
  if (look === undefined) {
    const message = `${asked.slice(0, 100)} can be no symbol: one is written like AAPL`
    return failedEntry(asked, new CodedError('unknown_symbol', message))
  }
  if (look.kind === 'unknown' && !look.asked) {
    const message = `no asset is called ${look.name}; the providers were not asked about it: GET /get-price does`
    return failedEntry(asked, new CodedError('too_many_requests', message))
  }
  if (look.kind !== 'quote') return failedEntry(asked, lookupError(look))
  const text = withSymbol(formatQuote(look.quote, look.source, staleReason(look, now)), asked)
  return { text, layer: look.source === 'provider' ? 'fetched' : 'cached' }
}

/** What is known of many names; of those that no asset has, the providers are asked about a few. */
async function lookupAll(
  c: Context<AppEnv>,
  names: readonly string[],
  now: number,
): Promise<Map<string, ResolvedLookup>> {
  const looks = new Map<string, ResolvedLookup>(
    (await lookupQuotes(c.env, names, now)).map((look) => [look.name, look]),
  )
  const unknown = [...looks.values()].filter((look) => look.kind === 'unknown' && !look.asked).slice(0, MAX_DISCOVERED)
  const found = unknown.map(async ({ name }) => {
    if (await isLookupAllowed(c)) looks.set(name, await discoverQuote(c.env, name))
  })
  await Promise.all(found)
  return looks
}

/** `GET /get-price` and `POST /get-batch-prices` (brief 001). */
export const priceRoutes = new Hono<AppEnv>()
  .get('/get-price', async (c) => {
    const now = Date.now()
    // Nearly every request ends here: a look into a map, and a text that is there.
    const plain = plainSymbol(c.req.url)
    const atHand = plain === null ? null : cachedQuoteText(c.env, plain, now)
    if (atHand !== null) return new Response(atHand, { headers: JSON_HEADERS })
    const name = parsePriceInput(new URL(c.req.url).searchParams)
    const known = cachedQuoteText(c.env, name, now)
    if (known !== null) return new Response(known, { headers: JSON_HEADERS })
    const look = await lookupOrDiscover(c, name)
    if (look.kind !== 'quote') throw lookupError(look)
    const text = formatQuote(look.quote, look.source, staleReason(look, Date.now()))
    return new Response(text, { headers: JSON_HEADERS })
  })
  .post('/get-batch-prices', async (c) => {
    const symbols = parseSymbolsInput(await readJson(c), readSettings(c.env))
    const names = symbols.map(normalizeName)
    const wanted = [...new Set(names.filter((name) => name !== null))]
    const looks = await lookupAll(c, wanted, Date.now())
    const now = Date.now()
    const answers = symbols.map((asked, i) => toBatchEntry(asked, looks.get(names[i] ?? ''), now))
    const count = (layer: BatchEntry['layer']) => answers.filter((answer) => answer.layer === layer).length
    const body = `{"prices":[${answers.map(({ text }) => text).join(',')}],"cached":${count('cached')},"fetched":${count('fetched')},"total":${answers.length}}`
    return c.body(body, 200, JSON_HEADERS)
  })
