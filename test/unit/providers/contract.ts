import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { MissingQuote, ProviderListing, ProviderQuote } from '../../../src/pricing/provider-quote.ts'
import type { QuoteProvider } from '../../../src/providers/provider.ts'
import type { Fetch, FetchInit } from '../../../src/providers/result.ts'

/** The response to one request: a text body is sent unchanged, any other body as JSON. */
export type Canned = { status?: number; body: unknown; headers?: Record<string, string> }
/** A response that never comes. */
export const HANGS = 'hangs'
export const CUT = 'cut'

type Sent = { url: string; init: FetchInit }

/** A fetch that responds by a function of the URL, and records each request. */
export function canned(answer: (url: string, init: FetchInit) => Canned | typeof HANGS | typeof CUT) {
  const sent: Sent[] = []
  const fetch: Fetch = async (url, init) => {
    sent.push({ url, init })
    init.signal.throwIfAborted()
    const response = answer(url, init)
    if (response === CUT) throw new TypeError('Network connection lost.')
    if (response === HANGS)
      return new Promise((_, reject) => {
        init.signal.addEventListener('abort', () => reject(init.signal.reason))
      })
    const body = typeof response.body === 'string' ? response.body : JSON.stringify(response.body)
    return new Response(body, { status: response.status ?? 200, headers: response.headers })
  }
  return { fetch, sent }
}

/** How one provider is put to the contract. */
export type Subject = {
  /** The provider with this fetch. `answer` responds to requests for data; all other requests succeed. */
  make(answer: (url: string) => Canned | typeof HANGS | typeof CUT): { provider: QuoteProvider; sent: Sent[] }
  /** Recorded responses (or written ones, where none was recorded), and the quotes parsed from them. */
  quotes: { name: string; body: unknown; expected: ProviderQuote | MissingQuote }[]
  /** A valid response for `ids`, whose second quote is good, odd or absent. */
  batch: { ids: [string, string]; body(second: 'good' | 'odd' | 'absent'): unknown }
  /** A response for one id, with this price as JSON text. */
  priced: { id: string; body(price: string): string; ends: [json: string, price: string | null][] }
  /** The first id's text in a URL, where it differs from the id. */
  asked?: string
  /** Ids that no request is made for. */
  impossible: string[]
  find: { name: string; body: unknown; expected: ProviderListing | null }[]
  /** An id for history, where the provider has it. */
  daily: string | null
  /** A secret that no result may contain. */
  secret?: string
}

const PLAIN = /^(?:0|[1-9]\d*)(?:\.\d+)?$/
const SIGNED = /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/
const MINOR = new Set(['GBp', 'GBX', 'ZAc', 'ZAX', 'ILA'])

/** Checks that apply to the quotes of every provider. */
export function expectSound(quote: ProviderQuote | MissingQuote): void {
  if (quote.price === null) {
    expect(['unknown', 'no_price']).toContain(quote.reason)
    return
  }
  expect(quote.price).toMatch(PLAIN)
  expect(quote.price).toMatch(/[1-9]/)
  expect(quote.currency).not.toBe('')
  expect(MINOR.has(quote.currency)).toBe(false)
  for (const amount of [quote.previous_close, quote.open, quote.high, quote.low, quote.volume, quote.pe_ratio])
    if (amount !== null) expect(amount).toMatch(PLAIN)
  for (const signed of [quote.change24h, quote.eps]) if (signed !== null) expect(signed).toMatch(SIGNED)
  expect(new Date(quote.as_of).toISOString()).toBe(quote.as_of)
}

/** One contract for all that quotes come from. */
export function contract(name: string, subject: Subject): void {
  const { make, batch } = subject
  const [first, second] = batch.ids

  describe(`${name} fulfils the contract of providers`, () => {
    const logs = (['log', 'info', 'warn', 'error', 'debug', 'dir'] as const).map((level) => [level] as const)
    const spies: ReturnType<typeof vi.spyOn>[] = []
    beforeEach(() => {
      for (const [level] of logs) spies.push(vi.spyOn(console, level).mockImplementation(() => {}))
    })
    afterEach(() => {
      const logged = spies.splice(0).flatMap((spy) => {
        const { calls } = spy.mock
        spy.mockRestore()
        return calls
      })
      expect(logged, 'nothing is logged').toEqual([])
    })

    test.each(subject.quotes)(
      'Q6 the quote of $name has the digits, currency and times of the response',
      async (one) => {
        const { provider } = make(() => ({ body: one.body }))
        const result = await provider.quotes([one.expected.id])
        if (!result.ok) throw new Error(result.detail)
        expect(result.value).toHaveLength(1)
        if (one.expected.price === null)
          expect(result.value[0]).toEqual({ ...one.expected, detail: expect.any(String) })
        else expect(result.value[0]).toEqual(one.expected)
        for (const quote of result.value) expectSound(quote)
      },
    )

    test('Q5 an odd or unknown id does not affect the others', async () => {
      const of = async (kind: 'good' | 'odd' | 'absent') => {
        const { provider, sent } = make(() => ({ body: batch.body(kind) }))
        const result = await provider.quotes([first, second])
        if (!result.ok) throw new Error(result.detail)
        for (const quote of result.value) expectSound(quote)
        expect(result.value.map((quote) => quote.id)).toEqual([first, second])
        return { quotes: result.value, requests: sent.length }
      }
      const good = await of('good')
      expect(good.quotes.map((quote) => quote.price !== null)).toEqual([true, true])
      const odd = await of('odd')
      expect(odd.quotes[0]).toEqual(good.quotes[0])
      expect(odd.quotes[1]).toMatchObject({ id: second, price: null })
      const absent = await of('absent')
      expect(absent.quotes[0]).toEqual(good.quotes[0])
      expect(absent.quotes[1]).toMatchObject({ id: second, price: null, reason: 'unknown' })
      expect(odd.requests).toBe(good.requests)
    })

    test.each(subject.priced.ends)('Q6 a price written %s is %s', async (json, expected) => {
      const { provider } = make(() => ({ body: subject.priced.body(json) }))
      const result = await provider.quotes([subject.priced.id])
      if (!result.ok) throw new Error(result.detail)
      expect(result.value[0]?.price).toBe(expected)
      if (expected === null) expect(result.value[0]).toMatchObject({ reason: 'no_price' })
    })

    test('a repeated id is requested once and returned each time', async () => {
      const { provider, sent } = make(() => ({ body: batch.body('good') }))
      const result = await provider.quotes([first, second, first])
      expect(result.ok && result.value.map((quote) => quote.id)).toEqual([first, second, first])
      const url = decodeURIComponent(sent.at(-1)?.url ?? '')
      expect(url.split(subject.asked ?? first)).toHaveLength(2)
    })

    test('no ids and impossible ids cost no request', async () => {
      const { provider, sent } = make(() => ({ body: batch.body('good') }))
      expect(await provider.quotes([])).toEqual({ ok: true, value: [] })
      const result = await provider.quotes(subject.impossible)
      expect(result.ok && result.value.map((quote) => [quote.id, quote.price])).toEqual(
        subject.impossible.map((id) => [id, null]),
      )
      expect(sent).toEqual([])
    })

    describe('failures are values', () => {
      const calls: [string, (provider: QuoteProvider, signal?: AbortSignal) => Promise<unknown>][] = [
        ['quotes', (provider, signal) => provider.quotes([first, second], signal)],
        ...subject.find
          .slice(0, 1)
          .map((one): (typeof calls)[number] => ['find', (provider, signal) => provider.find(one.name, signal)]),
        ...(subject.daily === null
          ? []
          : [
              [
                'daily',
                (provider: QuoteProvider, signal?: AbortSignal) =>
                  provider.dailyHistory(subject.daily as string, '2025-01-01', signal),
              ] as (typeof calls)[number],
            ]),
      ]

      describe.each(calls)('a failure of %s', (_, call) => {
        const failures: [string, Canned | typeof CUT, object][] = [
          ['429 with text', { status: 429, body: 'Edge: Too Many Requests' }, { reason: 'rate_limited', status: 429 }],
          [
            '429 with seconds to wait',
            { status: 429, body: '', headers: { 'retry-after': '7' } },
            { reason: 'rate_limited', retryAfter: 7_000 },
          ],
          [
            '429 with a date to wait for',
            {
              status: 429,
              body: '',
              headers: { 'retry-after': 'Wed, 04 Feb 2026 10:00:30 GMT', date: 'Wed, 04 Feb 2026 10:00:00 GMT' },
            },
            { reason: 'rate_limited', retryAfter: 30_000 },
          ],
          [
            '418, a ban',
            { status: 418, body: '', headers: { 'retry-after': '120' } },
            { reason: 'rate_limited', status: 418, retryAfter: 120_000 },
          ],
          ['401', { status: 401, body: '{}' }, { reason: 'unavailable', status: 401 }],
          ['403', { status: 403, body: 'Forbidden' }, { reason: 'unavailable', status: 403 }],
          ['503', { status: 503, body: '<html>' }, { reason: 'unavailable', status: 503 }],
          ['200 that is not JSON', { body: '<html><body>Sorry' }, { reason: 'invalid', status: 200 }],
          ['200 that is cut off', { body: '{"quoteResponse":{"res' }, { reason: 'invalid', status: 200 }],
          ['200 with null', { body: 'null' }, { reason: 'invalid', status: 200 }],
          ['200 with a word', { body: '"ok"' }, { reason: 'invalid', status: 200 }],
          ['no answer', CUT, { reason: 'unavailable', status: null }],
        ]
        test.each(failures)('a response with %s becomes a failure with its reason', async (_, response, expected) => {
          const { provider } = make(() => response)
          const failure = await call(provider)
          expect(failure).toMatchObject({ ok: false, retryAfter: null, ...expected })
          expectNoSecret(JSON.stringify(failure), subject.secret)
        })

        test('a request without a response ends with its signal', async () => {
          const { provider } = make(() => HANGS)
          expect(await call(provider, AbortSignal.timeout(20))).toMatchObject({ reason: 'unavailable', status: null })
          expect(await call(provider, AbortSignal.abort())).toMatchObject({ reason: 'unavailable', status: null })
        })
      })
    })

    test.each(subject.find)('find returns the listing of $name, or null', async (one) => {
      const { provider } = make(() => ({ body: one.body }))
      expect(await provider.find(one.name)).toEqual({ ok: true, value: one.expected })
    })

    test('every batch up to the maximum has a weight', () => {
      const { provider } = make(() => CUT)
      expect(provider.maxBatch).toBeGreaterThan(0)
      for (let ids = 1; ids <= provider.maxBatch; ids++) expect(provider.weight(ids)).toBeGreaterThan(0)
    })

    if (subject.secret)
      test('a key is sent in a header, never in a URL', async () => {
        const { provider, sent } = make(() => ({ body: batch.body('good') }))
        await provider.quotes([first, second])
        expect(sent.length).toBeGreaterThan(0)
        for (const { url, init } of sent) {
          expectNoSecret(url, subject.secret)
          expect(JSON.stringify(init.headers)).toContain(subject.secret)
        }
      })

    if (subject.daily === null)
      test('the history of a provider without history is not found', async () => {
        const { provider, sent } = make(() => CUT)
        expect(await provider.dailyHistory(first, null)).toMatchObject({ ok: false, reason: 'not_found' })
        expect(sent).toEqual([])
      })
  })
}

function expectNoSecret(text: string, secret: string | undefined): void {
  if (secret !== undefined) expect(text).not.toContain(secret)
}
