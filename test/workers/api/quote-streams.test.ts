import { abortAllDurableObjects } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { readRefreshSettings } from '../../../src/db/app-settings.ts'
import { readPlannedAssets } from '../../../src/db/assets.ts'
import { withLiveDatabase } from '../../../src/db/client.ts'
import { quoteBoard } from '../../../src/objects.ts'
import type { WireQuote } from '../../../src/protocol/quote.ts'
import {
  closeAll,
  get,
  getWithEnv,
  type Message,
  openEventStream,
  openSocket,
  type ServerSentEvent,
  sendTrade,
  waitFor,
} from '../support/wire.ts'

afterEach(closeAll)

/** Assets of these tests alone: prices of others come and go as they are seeded. */
const ASSETS = [
  ['KRBA', 'Kerb Test A', 'stock', 'KRBA', 'yahoo', 'KRBA', 'USD'],
  ['KRBB', 'Kerb Test B', 'stock', 'KRBB', 'yahoo', 'KRBB', 'USD'],
  ['KRBC.L', 'Kerb Test C, London', 'stock', 'KRBC', 'yahoo', 'KRBC.L', 'GBP'],
  ['KRBC.MI', 'Kerb Test C, Milan', 'stock', 'KRBC', 'yahoo', 'KRBC.MI', 'EUR'],
  // Two assets with one symbol.
  ['KRBD', 'Kerb Test D', 'stock', 'KRBD', 'yahoo', 'KRBD', 'USD'],
  ['KRBD', 'Kerb Test D, Xetra', 'stock', 'KRBD', 'yahoo', 'KRBD.DE', 'EUR'],
] as const

/** What the fake provider tells of an id from now on. */
async function price(id: string, value: string): Promise<void> {
  const response = await fetch(`${env.PROVIDERS_URL}/_prices`, {
    method: 'POST',
    body: JSON.stringify({ provider: 'yahoo', id, price: value }),
  })
  if (!response.ok) throw new Error(await response.text())
}

/** Sets a price and has the board ask for it at once, not at its next beat. */
async function move(symbol: string, value: string): Promise<void> {
  await price(symbol, value)
  const report = await quoteBoard(env, 0).refresh([symbol])
  expect(report).toMatchObject({ refreshed: 1, failed: 0 })
}

/** What cron tells the board each minute, of these assets alone. */
async function plan(): Promise<void> {
  const { settings, assets } = await withLiveDatabase(env, async (sql) => ({
    settings: await readRefreshSettings(sql),
    assets: await readPlannedAssets(sql),
  }))
  const mine = assets.filter(({ symbol }) => ASSETS.some(([name]) => name === symbol))
  await quoteBoard(env, 0).setPlan({ at: Date.now(), settings, assets: mine })
}

const quotesOf = (message: Message) => message.quotes as WireQuote[]
const priceOf = (message: Message, symbol: string) => quotesOf(message).find((quote) => quote.symbol === symbol)?.price
const data = (event: ServerSentEvent) => JSON.parse(event.data)

beforeAll(async () => {
  await withLiveDatabase(env, async (sql) => {
    for (const [symbol, name, type, code, provider, provider_id, currency] of ASSETS)
      await sql`INSERT INTO assets (symbol, name, type, category, code, provider, provider_id, currency)
        VALUES (${symbol}, ${name}, ${type}, ${type}, ${code}, ${provider}, ${provider_id}, ${currency})`
  })
  for (const [, , , , , id] of ASSETS) await price(id, '100')
  await plan()
  await quoteBoard(env, 0).refresh(null)
})

describe('quotes on /ws', () => {
  test('D4 quotes and candles share one connection, and each object answers and moves the position', async () => {
    const client = await openSocket('/ws')
    client.send({ op: 'subscribe', channels: ['quotes.KRBA', 'candles.ONE-USD.ONE_MINUTE'], req_id: 1 })
    const answers = [await client.next('subscribed'), await client.next('subscribed')]
    expect(answers.map(({ channels, req_id }) => [channels, req_id])).toEqual(
      expect.arrayContaining([
        [['quotes.KRBA'], 1],
        [['candles.ONE-USD.ONE_MINUTE'], 1],
      ]),
    )
    await waitFor('both snapshots', () =>
      client.texts.filter((text) => text.includes('"type":"snapshot"')).length === 2 ? true : null,
    )
    await move('KRBA', '101.25')
    const update = await client.next('update', (m) => m.quotes !== undefined)
    expect(priceOf(update, 'KRBA')).toBe(101.25)
    expect(quotesOf(update)[0]).toMatchObject({ symbol: 'KRBA', provider: 'simulated', currency: 'USD', stale: null })
    expect(update.position.split(',').map((part) => part.split(':')[0])).toEqual(
      expect.arrayContaining(['quotes', 'ONE-USD']),
    )
    await sendTrade('ONE-USD', '100.10')
    await client.next('update', (m) => m.candles !== undefined)
  })

  test('C3 a quote reaches the client with the digits that the quote board wrote', async () => {
    const client = await openSocket('/ws')
    client.send({ op: 'subscribe', channels: ['quotes.KRBA'] })
    await client.next('snapshot')
    await move('KRBA', '101.123457')
    await client.next('update', (m) => priceOf(m, 'KRBA') === 101.123457)
    expect(client.texts.at(-1)).toContain('"price":101.123457,')
  })

  test('a quote channel accepts every name of an asset, and `subscribed` repeats the name of the client', async () => {
    const client = await openSocket('/ws')
    client.send({ op: 'subscribe', channels: ['quotes.yahoo:KRBA', 'quotes.krbb'], req_id: 2 })
    expect((await client.next('subscribed')).channels).toEqual(['quotes.yahoo:KRBA', 'quotes.krbb'])
    const snapshot = await client.next('snapshot')
    expect(
      quotesOf(snapshot)
        .map(({ symbol }) => symbol)
        .sort(),
    ).toEqual(['KRBA', 'KRBB'])
    client.send({ op: 'unsubscribe', channels: ['quotes.yahoo:KRBA'] })
    await client.next('unsubscribed')
    await move('KRBA', '102')
    await move('KRBB', '55.5')
    const update = await client.next('update')
    expect(quotesOf(update).map(({ symbol }) => symbol)).toEqual(['KRBB'])
  })

  test('two assets with the same symbol are each available by an unambiguous name', async () => {
    const client = await openSocket('/ws')
    client.send({ op: 'subscribe', channels: ['quotes.yahoo:KRBD.DE'] })
    expect((await client.next('subscribed')).channels).toEqual(['quotes.yahoo:KRBD.DE'])
    const [quote, ...more] = quotesOf(await client.next('snapshot'))
    expect([quote?.symbol, quote?.currency, more]).toEqual(['KRBD', 'EUR', []])
    client.send({ op: 'subscribe', channels: ['quotes.KRBD'] })
    expect(await client.next('error')).toMatchObject({ code: 'ambiguous_symbol', field: 'channels/0' })
  })

  test('quotes.* stands for every asset', async () => {
    const client = await openSocket('/ws')
    client.send({ op: 'subscribe', channels: ['quotes.*'], req_id: 3 })
    expect((await client.next('subscribed')).channels).toEqual(['quotes.*'])
    const symbols = new Set(quotesOf(await client.next('snapshot')).map(({ symbol }) => symbol))
    for (const [symbol] of ASSETS) expect(symbols).toContain(symbol)
    await move('KRBC.L', '777')
    await client.next('update', (m) => priceOf(m, 'KRBC.L') !== undefined)
  })

  test.each([
    ['quotes.KRBC', 'ambiguous_symbol'],
    ['quotes.NOSUCHNAME', 'unknown_symbol'],
    ['quotes.<b>', 'unknown_channel'],
  ])('D4 %s fails the whole subscribe with %s and changes nothing', async (name, code) => {
    const client = await openSocket('/ws')
    client.send({ op: 'subscribe', channels: ['quotes.KRBA', name], req_id: 4 })
    const error = await client.next('error')
    expect(error).toMatchObject({ code, field: 'channels/1', req_id: 4 })
    if (code === 'ambiguous_symbol') expect(error.message).toContain('yahoo:KRBC.MI')
    await move('KRBA', '103')
    client.send({ op: 'ping', req_id: 5 })
    await client.next('pong')
    expect(client.texts.filter((text) => !text.includes('"error"') && !text.includes('"pong"'))).toEqual([])
  })

  test('an unknown symbol causes no request to a provider', async () => {
    const counts = async () =>
      ((await (await fetch(`${env.PROVIDERS_URL}/_requests?path=NOBODYHASIT`)).json()) as { requests: unknown[] })
        .requests.length
    const client = await openSocket('/ws')
    client.send({ op: 'subscribe', channels: ['quotes.NOBODYHASIT'] })
    await client.next('error')
    expect(await counts()).toBe(0)
  })

  test('MAX_CHANNELS counts quotes and candles together', async () => {
    const few = { ...env, MAX_CHANNELS: '2' } as unknown as Env
    const client = await openSocket('/ws', few)
    client.send({ op: 'subscribe', channels: ['quotes.KRBA', 'candles.ONE-USD.ONE_DAY', 'quotes.KRBB'], req_id: 6 })
    expect(await client.next('error')).toMatchObject({ code: 'too_many_channels', field: 'channels', req_id: 6 })
  })

  test('D2 a client that resumes gets the current state of the changed quotes, and no snapshot', async () => {
    const channels = ['quotes.KRBA', 'quotes.KRBB']
    const client = await openSocket('/ws')
    client.send({ op: 'subscribe', channels })
    const { position } = await client.next('snapshot')
    client.close()
    await move('KRBA', '104')
    await move('KRBA', '105')
    const back = await openSocket('/ws')
    back.send({ op: 'subscribe', channels, since: position, req_id: 7 })
    expect(await back.next('subscribed')).toMatchObject({ recovered: true, req_id: 7 })
    const update = await back.next('update')
    expect(quotesOf(update).map(({ symbol, price: value }) => [symbol, value])).toEqual([['KRBA', 105]])
    await move('KRBB', '56')
    await back.next('update', (m) => priceOf(m, 'KRBB') === 56)
    expect(back.texts.some((text) => text.includes('"snapshot"'))).toBe(false)
  })

  test('D2 a quote board that restarts is joined again, and the client continues', async () => {
    const client = await openSocket('/ws')
    client.send({ op: 'subscribe', channels: ['quotes.KRBA'] })
    await client.next('snapshot')
    await abortAllDurableObjects()
    await waitFor('a socket of the new board', async () =>
      (await quoteBoard(env, 0).status()).watchers > 0 ? true : null,
    )
    await plan()
    await move('KRBA', '106.5')
    await waitFor('the new price', () => {
      const last = client.texts.map((text) => JSON.parse(text) as Message).findLast((m) => m.quotes !== undefined)
      return last && priceOf(last, 'KRBA') === 106.5 ? true : null
    })
  })
})

describe('quotes on the event stream', () => {
  test('a stream of symbols sends a position, then `event: quote` with the text of the quote board, the last of a frame with the id', async () => {
    const stream = await openEventStream('/api/v1/stream?symbol=KRBA,KRBB')
    const first = await stream.next('position')
    expect(stream.events[0]).toBe(first)
    expect(data(first)).toEqual({ recovered: false, position: expect.stringMatching(/^quotes:[a-z0-9]+-\d+$/) })
    const snapshot = [await stream.next('quote'), await stream.next('quote')]
    expect(snapshot.map((event) => data(event).symbol).sort()).toEqual(['KRBA', 'KRBB'])
    expect(snapshot.map(({ id }) => id === null)).toEqual([true, false])
    await move('KRBA', '107.250001')
    const event = await stream.next('quote')
    expect(event.data).toContain('"price":107.250001,')
    expect(event.id).toMatch(/^quotes:/)
  })

  test('a stream may combine symbols and products, and * stands for every asset', async () => {
    const both = await openEventStream('/api/v1/stream?symbols=KRBA&product=ONE-USD&granularity=ONE_MINUTE')
    expect(data(await both.next('position')).position).toMatch(/ONE-USD:.*quotes:|quotes:.*ONE-USD:/)
    await both.next('quote')
    await both.next('feed')
    await move('KRBA', '108')
    const { id } = await both.next('quote', (event) => data(event).price === 108)
    expect(id).toContain('ONE-USD:')
    const all = await openEventStream('/api/v1/stream?symbol=*')
    await all.next('quote', (event) => data(event).symbol === 'KRBC.MI')
  })

  test('D2 resumes from Last-Event-ID across quotes and candles', async () => {
    const path = '/api/v1/stream?symbol=KRBA&product=TWO-USD&granularity=ONE_MINUTE'
    const stream = await openEventStream(path)
    await stream.next('feed', (event) => data(event).state === 'live')
    await move('KRBA', '109')
    const { id } = await stream.next('quote', (event) => data(event).price === 109)
    const stays = await openSocket('/ws/products/TWO-USD')
    stays.send({ op: 'subscribe', channels: ['candles.TWO-USD.ONE_MINUTE'] })
    await stays.next('snapshot')
    await stream.close()
    await move('KRBA', '110')
    await sendTrade('TWO-USD', '8.5')
    await stays.next('update')
    const back = await openEventStream(path, { 'last-event-id': id as string })
    expect(data(await back.next('position')).recovered).toBe(true)
    await waitFor('both', () => {
      const names = back.events.map(({ event }) => event)
      return names.includes('quote') && names.includes('candle') ? true : null
    })
    expect(back.events.filter(({ event }) => event === 'quote').map((event) => data(event).price)).toEqual([110])
  })

  test.each([
    ['symbol=NOSUCHNAME', 404, 'unknown_symbol', 'symbol'],
    ['symbol=KRBA,NOSUCHNAME', 404, 'unknown_symbol', 'symbol'],
    ["symbol=';--", 404, 'unknown_symbol', 'symbol'],
    ['symbol=KRBC', 409, 'ambiguous_symbol', 'symbol'],
    ['symbol=KRBA&product=ONE-USD', 400, 'invalid_request', 'granularity'],
    ['symbol=KRBA&passive=perhaps', 400, 'invalid_request', 'passive'],
    ['symbol=KRBA&product=NO-USD&granularity=ONE_DAY', 404, 'unknown_product', 'product'],
  ])('D6 %s is refused before the stream begins', async (query, status, code, field) => {
    for (const method of ['GET', 'HEAD']) {
      const response = await get(`/api/v1/stream?${query}`, { method })
      expect([response.status, response.headers.get('content-type')]).toEqual([status, 'application/problem+json'])
      if (method === 'HEAD') continue
      const problem = (await response.json()) as { code: string; errors: { field: string }[]; candidates?: object[] }
      expect([problem.code, problem.errors[0]?.field]).toEqual([code, field])
      if (code === 'ambiguous_symbol')
        expect(problem.candidates).toContainEqual(expect.objectContaining({ symbol: 'KRBC.L' }))
    }
  })

  test('HEAD returns the headers of the stream without a body; too many symbols are refused', async () => {
    const head = await get('/api/v1/stream?symbol=KRBA', { method: 'HEAD' })
    expect([head.status, head.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
    const few = { ...env, MAX_CHANNELS: '1' } as unknown as Env
    const many = await getWithEnv(few, '/api/v1/stream?symbol=KRBA,KRBB')
    expect([many.status, ((await many.json()) as { code: string }).code]).toEqual([400, 'too_many_symbols'])
  })
})

describe('pages of assets', () => {
  const page = async (path: string) => {
    const response = await get(path, { headers: { accept: 'text/html' } })
    return { response, status: response.status, text: await response.text() }
  }

  test('an asset’s page and facts are served under every name of the asset, with no-store', async () => {
    for (const name of ['KRBA', 'krba', 'yahoo:KRBA', 'yahoo%3AKRBA']) {
      const { response, status, text } = await page(`/assets/${name}`)
      expect([name, status, response.headers.get('cache-control')]).toEqual([name, 200, 'no-store'])
      expect(text).toContain('Kerb Test A')
      expect(text).toMatch(/id="price" class="figure">[\d,]+\.\d\d/)
      expect(response.headers.get('content-security-policy')).toMatch(/default-src 'none'; script-src 'self'/)
    }
    const facts = await page('/assets/KRBA/facts')
    expect(facts.text).toMatch(/^<section class="card" id="facts"/)
  })

  test('D6 an unknown or ambiguous symbol and an invalid request get an error page', async () => {
    const unknown = await page('/assets/NONEOFTHEM')
    expect([unknown.status, unknown.response.headers.get('content-type')]).toEqual([404, 'text/html; charset=UTF-8'])
    expect(unknown.text).toContain('No such symbol')
    const malformed = await page('/assets/%3Cscript%3E')
    expect(malformed.status).toBe(404)
    expect(malformed.text).not.toContain('<script>')
    const ambiguous = await page('/assets/KRBC')
    expect(ambiguous.status).toBe(409)
    expect(ambiguous.text).toContain('Several assets match KRBC')
    expect(ambiguous.text).toContain('href="/assets/yahoo%3AKRBC.MI"')
    expect((await page('/assets/KRBA?range=2y')).status).toBe(400)
  })

  test('the search finds assets by symbol and by name, with prices', async () => {
    const { status, text } = await page('/assets?q=kerb+test')
    expect(status).toBe(200)
    for (const [symbol] of ASSETS) expect(text).toContain(`>${symbol}</a>`)
    expect(text).toMatch(/<td class="number price">[\d,]+\.\d\d/)
    expect((await page('/assets?after=nonsense')).status).toBe(400)
  })
})
