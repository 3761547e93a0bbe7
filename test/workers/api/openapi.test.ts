import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { LookupResult } from '../../../src/objects.ts'
import { ERROR_CODES, type Problem } from '../../../src/protocol/errors.ts'
import type { EnrichedPortfolio } from '../../../src/protocol/portfolio.ts'
import { app } from '../../../workers/app.ts'
import { document, operations, type Schema, schemaViolations } from '../support/document.ts'
import { confirmToken, createMember, type Member, PASSWORD, person } from '../support/person.ts'
import { closeAll, get, getWithEnv, openEventStream, openSocket } from '../support/wire.ts'

afterEach(closeAll)

describe('D6 the document', () => {
  test('the document has every route of the Worker except pages, and no other', () => {
    const pages =
      /^\/(?:|docs|audit|assets.*|products.*|sign-.*|confirm-email|forgot-password|reset-password|user(?:\/.*)?)$/
    const routes = app.routes
      .filter(({ method, path }) => method !== 'ALL' && !pages.test(path))
      .map(({ method, path }) => `${method.toLowerCase()} ${path.replace(/:(\w+)/g, '{$1}')}`)
    const told = operations.map(({ path, method }) => `${method} ${path}`)
    expect(told.toSorted()).toEqual([...new Set(routes)].toSorted())
  })

  test('the document is OpenAPI 3.1: operation ids are unique, path parameters are in their path, references resolve', () => {
    expect(document.openapi).toBe('3.1.0')
    expect(document.info).toMatchObject({ title: 'Kerb', version: '1' })
    const ids = operations.map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { path, operation } of operations) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      const told = (operation.parameters ?? []).filter((each) => each.in === 'path')
      expect(told.map(({ name, required }) => [name, required])).toEqual(inPath.map((name) => [name, true]))
      expect(Object.keys(operation.responses).length).toBeGreaterThan(1)
      for (const [status, response] of Object.entries(operation.responses)) {
        expect(status).toMatch(/^[1-5]\d\d$/)
        expect(response.description).not.toBe('')
      }
    }
    const refs = JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)
    for (const [, name] of refs) expect(document.components.schemas).toHaveProperty(name as string)
  })

  test('every documented problem has the status of its code', () => {
    for (const { operation } of operations)
      for (const [status, { description, content }] of Object.entries(operation.responses)) {
        if (!content?.['application/problem+json']) continue
        const codes = [...description.matchAll(/`(\w+)`/g)].map(([, code]) => code as keyof typeof ERROR_CODES)
        expect(codes.length).toBeGreaterThan(0)
        for (const code of codes) expect(`${ERROR_CODES[code].status}`).toBe(status)
      }
  })

  test('the document is served as it is generated, and its page needs no script', async () => {
    const served = await get('/openapi.json', { headers: { origin: 'https://example.com' } })
    expect(served.headers.get('access-control-allow-origin')).toBe('*')
    expect(await served.json()).toEqual({ ...document, info: { ...document.info, version: '0.1.0' } })
    const page = await get('/docs', { headers: { accept: 'text/html' } })
    expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self'/)
    const text = await page.text()
    expect(text).not.toContain('<script')
    for (const { path } of operations) expect(text).toContain(`<code>${path}</code>`)
  })
})

const told = (name: string): LookupResult => ({
  name,
  kind: 'quote',
  quote: {
    asset_id: 1,
    symbol: name,
    price: '1.50',
    currency: 'USD',
    previous_close: '1',
    change24h: '50',
    market_state: 'closed',
    open: '1',
    high: '2',
    low: '1',
    volume: '10',
    eps: null,
    pe_ratio: null,
    pe_as_of: null,
    provider: 'simulated',
    as_of: new Date().toISOString(),
    updated_at: new Date().toISOString(),
  },
  source: 'provider',
  freshUntil: Date.now() + 60_000,
  trouble: null,
})
const candidates = [{ name_for_it: 'yahoo:A.L', symbol: 'A.L', name: 'A', type: 'stock', currency: 'GBP' }]
const board = {
  lookup: async (names: string[]): Promise<LookupResult[]> =>
    names.map((name) =>
      name === 'NOSUCH'
        ? { name, kind: 'unknown', asked: true }
        : name === 'SEVERAL'
          ? { name, kind: 'ambiguous', candidates }
          : told(name),
    ),
  refresh: async () => ({ refreshed: 1, failed: 0, waiting: 0 }),
  status: async () => ({ since: 1_700_000_000_000, assets: 1, quotes: 1 }),
}
const NOTHING_HELD: EnrichedPortfolio = {
  portfolio: {
    currency: 'USD',
    version: 0,
    positions: 0,
    invested: '0',
    present_value: '0',
    gain_loss: '0',
    gain_loss_percent: null,
    day_change: '0',
    day_change_percent: null,
    realised_gain: '0',
    income: '0',
    expenses: '0',
    incomplete: false,
    missing: [],
  },
  positions: [],
  refreshed_at: '2026-01-31T14:30:00Z',
  age_seconds: 0.5,
}
let valued = false
const portfolio = {
  issueTicket: async () => 'a-ticket-of-tests',
  enriched: async () => (valued ? JSON.stringify(NOTHING_HELD) : null),
  requestRefresh: async () => true,
  applyChange: async () => {},
}
const KEY = 'service-key-of-tests'
const here = {
  ...env,
  SUPABASE_SERVICE_ROLE_KEY: KEY,
  QUOTE_BOARD: { getByName: () => board },
  USER_PORTFOLIO: { getByName: () => portfolio },
  REFRESH_QUEUE: { send: async () => {} },
} as unknown as Env

const json = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
  body: JSON.stringify(body),
})

/** One answer of each operation that is for everybody, and of problems of several kinds. */
const ANSWERS: [operationId: string, path: string, status: number, init?: RequestInit][] = [
  ['getPrice', '/get-price?symbol=AAPL', 200],
  ['getPrice', '/get-price?symbol=NOSUCH', 404],
  ['getPrice', '/get-price?symbol=SEVERAL', 409],
  ['getPrice', '/get-price', 400],
  ['getBatchPrices', '/get-batch-prices', 200, json({ symbols: ['AAPL', 'NOSUCH', 'SEVERAL', '?'] })],
  ['getBatchPrices', '/get-batch-prices', 400, json({ symbols: [] })],
  ['getHistory', '/get-history?symbol=AAPL&range=1d', 200],
  ['getHistory', '/get-history?symbol=BTC&range=7d', 200],
  ['getHistory', '/get-history?symbol=AAPL&range=1m', 503],
  ['getHistory', '/get-history?symbol=AAPL&range=2w', 400],
  ['refreshPrices', '/refresh-prices', 200, json({ symbols: ['AAPL'] })],
  ['refreshPrices', '/refresh-prices', 401, { method: 'POST' }],
  ['findAssets', '/api/v1/assets?q=app&limit=2', 200],
  ['findAssets', '/api/v1/assets?after=nonsense', 400],
  ['getAsset', '/api/v1/assets/AAPL', 200],
  ['getAsset', '/api/v1/assets/NOSUCH', 404],
  ['getProducts', '/api/v1/products', 200],
  ['getProduct', '/api/v1/products/BTC-USD', 200],
  ['getProduct', '/api/v1/products/NO-USD', 404],
  ['getCandles', '/api/v1/products/BTC-USD/candles?granularity=ONE_MINUTE', 200],
  ['getCandles', '/api/v1/products/BTC-USD/candles?granularity=ONE', 400],
  ['getAudits', '/api/v1/audit', 200],
  ['getAudits', '/api/v1/audit?day=never', 400],
  ['stream', '/api/v1/stream', 400],
  ['streamElements', '/api/v1/datastar', 400],
  ['streamCharts', '/api/v1/datastar/chart', 400],
  ['openSocket', '/ws', 426],
  ['openProductSocket', '/ws/products/BTC-USD', 426],
  ['getHealth', '/health', 200],
  ['getHealth', '/health?verbose', 200],
  ['getOpenApi', '/openapi.json', 200],
]

let me: Member

/** As somebody who is signed in, by a bearer token. */
const mine = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  getWithEnv(here, path, {
    method,
    headers: { authorization: `Bearer ${me.token}`, 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
const signIn = (password: string) => person().signIn({ email: me.who.email, password })
const enter = (path: string, fields: unknown) => person().post(`/api/v1/auth/${path}`, fields)

/** The same of what belongs to somebody; one after the other, each on what those before it have left. */
const OWN: [operationId: string, status: number, ask: () => Promise<Response>][] = [
  ['signUp', 202, () => person().signUp()],
  ['signUp', 400, () => person().signUp({ email: 'nobody' })],
  ['confirmEmail', 204, confirmNewcomer],
  ['confirmEmail', 400, () => enter('confirm', { token: 'no token' })],
  ['signIn', 200, () => signIn(PASSWORD)],
  ['signIn', 401, () => signIn('a wrong password')],
  ['refresh', 200, () => me.who.post('/api/v1/auth/refresh', {})],
  ['refresh', 401, () => enter('refresh', {})],
  ['requestPasswordReset', 202, () => enter('password/reset-request', { email: 'nobody@example.com' })],
  ['requestPasswordReset', 400, () => enter('password/reset-request', {})],
  ['resetPassword', 400, () => enter('password/reset', { token: 'no token', password: PASSWORD })],
  ['changePassword', 401, () => mine('POST', '/api/v1/auth/password/change', change('a wrong password'))],
  ['changePassword', 200, () => mine('POST', '/api/v1/auth/password/change', change(PASSWORD))],
  ['signOut', 403, () => me.who.post('/api/v1/auth/sign-out', {}, { origin: 'https://evil.example' })],
  ['signOut', 204, () => me.who.post('/api/v1/auth/sign-out', {})],
  ['getKeys', 200, () => getWithEnv(here, '/api/v1/auth/jwks')],
  ['getTicket', 200, () => mine('POST', '/api/v1/auth/ticket')],
  ['getTicket', 401, () => enter('ticket', {})],
  ['getProfile', 200, () => mine('GET', '/api/v1/users/profile')],
  ['getProfile', 401, () => getWithEnv(here, '/api/v1/users/profile')],
  ['changeProfile', 200, () => mine('PATCH', '/api/v1/users/profile', { currency: 'EUR' })],
  ['changeProfile', 400, () => mine('PATCH', '/api/v1/users/profile', { currency: 'XXY' })],
  ['getEnrichedPortfolio', 202, () => mine('GET', '/api/v1/stocks/portfolio-enriched')],
  ['getEnrichedPortfolio', 401, () => getWithEnv(here, '/api/v1/stocks/portfolio-enriched')],
  ['getCachedPortfolio', 202, () => mine('GET', '/api/v1/stocks/portfolio-cache')],
  ['getEnrichedPortfolio', 200, () => onceValued('/api/v1/stocks/portfolio-enriched')],
  ['getCachedPortfolio', 200, () => onceValued('/api/v1/stocks/portfolio-cache')],
  ['refreshPortfolio', 202, () => mine('POST', '/refresh-portfolio')],
  ['refreshPortfolio', 403, () => mine('POST', '/refresh-portfolio', { userId: crypto.randomUUID() })],
  ['addStock', 201, () => keep(mine('POST', STOCKS, PURCHASE, { 'idempotency-key': 'once' }))],
  ['addStock', 201, () => mine('POST', STOCKS, PURCHASE, { 'idempotency-key': 'once' })],
  ['addStock', 409, () => mine('POST', STOCKS, { ...PURCHASE, quantity: '3' }, { 'idempotency-key': 'once' })],
  ['addStock', 404, () => mine('POST', STOCKS, { ...PURCHASE, symbol: 'NOSUCH' })],
  ['addStock', 400, () => mine('POST', STOCKS, { symbol: 'AAPL' })],
  ['addStock', 401, () => getWithEnv(here, STOCKS, { method: 'POST', body: '{}' })],
  ['listStocks', 200, () => mine('GET', STOCKS)],
  ['listStocks', 400, () => mine('GET', `${STOCKS}?limit=0`)],
  ['getStock', 200, () => mine('GET', `${STOCKS}/${kept}`)],
  ['getStock', 404, () => mine('GET', `${STOCKS}/${me.id}`)],
  ['changeStock', 200, () => mine('PATCH', `${STOCKS}/${kept}`, { quantity: '3' })],
  ['changeStock', 412, () => mine('PATCH', `${STOCKS}/${kept}`, { quantity: '4' }, { 'if-match': '"v1"' })],
  ['sellStock', 200, () => mine('POST', `${STOCKS}/${kept}/sell?dry_run=true`, { quantity: '1', price: '2' })],
  ['sellStock', 201, () => mine('POST', `${STOCKS}/${kept}/sell`, { quantity: '1', price: '2' })],
  ['sellStock', 409, () => mine('POST', `${STOCKS}/${kept}/sell`, { quantity: '9', price: '2' })],
  ['deleteStock', 409, () => mine('DELETE', `${STOCKS}/${kept}`)],
  ['deleteStock', 404, () => mine('DELETE', `${STOCKS}/${me.id}`)],
  ['addActivity', 201, () => keep(mine('POST', ACTIVITIES, { kind: 'fee', price: '2.50' }))],
  ['addActivity', 400, () => mine('POST', ACTIVITIES, { kind: 'gift' })],
  ['listActivities', 200, () => mine('GET', ACTIVITIES)],
  ['listActivities', 400, () => mine('GET', `${ACTIVITIES}?kind=gift`)],
  ['getActivity', 200, () => mine('GET', `${ACTIVITIES}/${kept}`)],
  ['getActivity', 404, () => mine('GET', `${ACTIVITIES}/${me.id}`)],
  ['changeActivity', 200, () => mine('PATCH', `${ACTIVITIES}/${kept}`, { note: 'of the year' })],
  ['changeActivity', 400, () => mine('PATCH', `${ACTIVITIES}/${kept}`, { price: 2.5 })],
  ['deleteActivity', 204, () => mine('DELETE', `${ACTIVITIES}/${kept}`)],
  ['deleteActivity', 404, () => mine('DELETE', `${ACTIVITIES}/${kept}`)],
  ['deleteStock', 204, soldNothing],
  ['portfolioHistory', 200, () => mine('GET', '/api/v1/portfolio/history?range=1m')],
  ['portfolioHistory', 400, () => mine('GET', '/api/v1/portfolio/history?range=2w')],
  ['importPortfolio', 200, () => imports('?dry_run=true', TABLE)],
  ['importPortfolio', 400, () => imports('', TABLE.replace('buy', 'gift'))],
  ['importPortfolio', 200, () => imports('', TABLE)],
  ['exportPortfolio', 200, () => mine('GET', '/api/v1/portfolio/export?format=json')],
  ['exportPortfolio', 200, () => mine('GET', '/api/v1/portfolio/export?format=csv')],
  ['exportPortfolio', 400, () => mine('GET', '/api/v1/portfolio/export?format=pdf')],
  ['openPortfolioSocket', 426, () => getWithEnv(here, '/ws/portfolio')],
  ['openPortfolioSocket', 400, () => upgrade('?token=x')],
  ['openPortfolioSocket', 401, () => upgrade('')],
  ['openSocket', 401, () => getWithEnv(here, '/ws?ticket=x', { headers: { upgrade: 'websocket' } })],
]

const STOCKS = '/api/v1/stocks'
const ACTIVITIES = '/api/v1/activities'
const PURCHASE = { symbol: 'AAPL', quantity: '2', price: '1.50', traded_at: '2026-01-05' }

const TABLE = 'date,symbol,type,quantity,price,currency\n2026-01-06,AAPL,buy,1,100,USD\n'
const imports = (query: string, body: string) =>
  getWithEnv(here, `/api/v1/portfolio/import${query}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${me.token}`, 'content-type': 'text/csv' },
    body,
  })

/** The id that was answered last to something entered. */
let kept = ''

async function keep(answer: Promise<Response>): Promise<Response> {
  const response = await answer
  if (response.ok) kept = ((await response.clone().json()) as { id: string }).id
  return response
}

/** Deletes a purchase of which nothing was sold. */
async function soldNothing(): Promise<Response> {
  await keep(mine('POST', STOCKS, { ...PURCHASE, symbol: 'MSFT' }))
  return mine('DELETE', `${STOCKS}/${kept}`)
}

const change = (current_password: string) => ({ current_password, password: 'another long password' })
const upgrade = (query: string) => getWithEnv(here, `/ws/portfolio${query}`, { headers: { upgrade: 'websocket' } })

async function confirmNewcomer(): Promise<Response> {
  const who = person()
  await who.signUp()
  return who.post('/api/v1/auth/confirm', { token: await confirmToken(who.email) })
}

function onceValued(path: string): Promise<Response> {
  valued = true
  return mine('GET', path)
}

/** Whether an answer is as the document tells of its operation. */
async function check(operationId: string, status: number, response: Response): Promise<void> {
  const operation = operations.find((each) => each.operation.operationId === operationId)?.operation
  const text = await response.text()
  expect(response.status, text).toBe(status)
  const told = operation?.responses[`${status}`]
  expect(told, `${operationId} tells nothing of ${status}`).toBeDefined()
  const type = response.headers.get('content-type')?.split(';')[0]
  if (status === 204) return expect([text, type, told?.content]).toEqual(['', undefined, undefined])
  const schema = told?.content?.[type ?? '']?.schema
  expect(schema, `${operationId} tells nothing of ${status} ${type}`).toBeDefined()
  const body: unknown = type?.endsWith('json') ? JSON.parse(text) : text
  expect(operationId === 'getOpenApi' ? [] : schemaViolations(body, schema as Schema)).toEqual([])
  // A code stands in the list of its operation's status.
  if (status >= 400) expect(told?.description).toContain(`\`${(body as Problem).code}\``)
}

describe('D6 responses match the document', () => {
  beforeAll(async () => {
    me = await createMember()
  })

  test.each(OWN)('%s %d', async (operationId, status, ask) => {
    await check(operationId, status, await ask())
  })

  test.each(ANSWERS)('%s %s %d', async (operationId, path, status, init) => {
    await check(operationId, status, await getWithEnv(here, path, init))
  })

  test('every operation is requested', () => {
    const asked = new Set([...ANSWERS, ...OWN].map(([operationId]) => operationId))
    expect(operations.map(({ operation }) => operation.operationId).filter((id) => !asked.has(id))).toEqual([])
  })

  test('events and socket messages match their schemas', async () => {
    const stream = await openEventStream('/api/v1/stream?product=BTC-USD&granularity=ONE_MINUTE')
    const { data } = await stream.next('candle')
    expect(schemaViolations(JSON.parse(data), { $ref: '#/components/schemas/Candle' })).toEqual([])
    const socket = await openSocket('/ws')
    socket.send({ op: 'subscribe', channels: ['candles.BTC-USD.ONE_MINUTE'], req_id: 1 })
    await socket.next('snapshot')
    for (const text of socket.texts)
      expect(schemaViolations(JSON.parse(text), { $ref: '#/components/schemas/SocketMessage' })).toEqual([])
  })
})
