import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test } from 'vitest'
import type { Look } from '../../durable-objects/stubs.ts'
import { app } from '../../src/api/app.ts'
import { openApiDocument } from '../../src/api/openapi.ts'
import { ERROR_CODES, type Problem } from '../../src/protocol/errors.ts'
import { closeAll, get, getWith, openEvents, openSocket } from './wire.ts'

afterEach(closeAll)

type Schema = { [key: string]: unknown }
type Operation = {
  operationId: string
  parameters?: { in: string; name: string; required?: boolean; schema?: Schema }[]
  responses: Record<string, { description: string; content?: Record<string, { schema: Schema }> }>
}
type Document = {
  openapi: string
  info: { title: string; version: string }
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema> }
  tags: { name: string }[]
}

// As it goes over the wire, so that nothing counts that JSON does not hold.
const document = JSON.parse(JSON.stringify(openApiDocument('1'))) as Document

const KEYWORDS = new Set([
  ...['$ref', 'type', 'enum', 'const', 'properties', 'required', 'items', 'prefixItems', 'anyOf', 'oneOf', 'pattern'],
  ...['additionalProperties', 'propertyNames', 'minimum', 'maximum', 'minItems', 'maxItems', 'minLength', 'maxLength'],
  ...['description', 'example', 'examples', 'default', 'format', 'allOf'],
])

/** What of a value is not as its schema says; of JSON Schema the part that the document uses. */
function faults(value: unknown, schema: Schema, at = '$'): string[] {
  const unknown = Object.keys(schema).filter((key) => !KEYWORDS.has(key))
  if (unknown.length > 0) return [`${at}: the test does not know ${unknown.join(', ')}`]
  const ref = schema.$ref as string | undefined
  if (ref !== undefined) {
    const named = document.components.schemas[ref.replace('#/components/schemas/', '')]
    return named ? faults(value, named, at) : [`${at}: ${ref} leads nowhere`]
  }
  const several = (schema.anyOf ?? schema.oneOf) as Schema[] | undefined
  if (several) {
    const each = several.map((one) => faults(value, one, at))
    return each.some((found) => found.length === 0) ? [] : each.flat()
  }
  if ('const' in schema) return value === schema.const ? [] : [`${at}: not ${String(schema.const)}`]
  if (schema.enum)
    return (schema.enum as unknown[]).includes(value) ? [] : [`${at}: ${String(value)} is none of the enum`]
  const types = schema.type === undefined ? null : [schema.type].flat()
  const type = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
  const whole = types?.includes('integer') && Number.isInteger(value)
  if (types && !types.includes(type) && !whole) return [`${at}: ${type}, not ${types.join(' or ')}`]
  const found: string[] = []
  if (type === 'array')
    for (const [i, item] of (value as unknown[]).entries()) {
      const of = (schema.prefixItems as Schema[] | undefined)?.[i] ?? (schema.items as Schema | undefined)
      if (of) found.push(...faults(item, of, `${at}/${i}`))
    }
  if (type === 'object') {
    const properties = (schema.properties ?? {}) as Record<string, Schema>
    for (const name of (schema.required ?? []) as string[])
      if (!Object.hasOwn(value as object, name)) found.push(`${at}: ${name} is missing`)
    for (const [name, item] of Object.entries(value as object)) {
      const of = properties[name]
      if (of) found.push(...faults(item, of, `${at}/${name}`))
      else if (schema.properties && schema.additionalProperties === undefined)
        found.push(`${at}: ${name} is not told of`)
    }
  }
  if (typeof schema.minimum === 'number' && (value as number) < schema.minimum)
    found.push(`${at}: below ${schema.minimum}`)
  return found
}

const eachOperation = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)

describe('D6 the document', () => {
  test('has every route of the Worker but pages, and no other', () => {
    const pages = /^\/(?:|docs|audit|assets.*|products.*)$/
    const routes = app.routes
      .filter(({ method, path }) => method !== 'ALL' && !pages.test(path))
      .map(({ method, path }) => `${method.toLowerCase()} ${path.replace(/:(\w+)/g, '{$1}')}`)
    const told = eachOperation.map(({ path, method }) => `${method} ${path}`)
    expect(told.toSorted()).toEqual([...new Set(routes)].toSorted())
  })

  test('is OpenAPI 3.1: operations are named once, parameters of a path stand in it, references lead somewhere', () => {
    expect(document.openapi).toBe('3.1.0')
    expect(document.info).toMatchObject({ title: 'Kerb', version: '1' })
    const ids = eachOperation.map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { path, operation } of eachOperation) {
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

  test('every problem that is told of has its code’s own status', () => {
    for (const { operation } of eachOperation)
      for (const [status, { description, content }] of Object.entries(operation.responses)) {
        if (!content?.['application/problem+json']) continue
        const codes = [...description.matchAll(/`(\w+)`/g)].map(([, code]) => code as keyof typeof ERROR_CODES)
        expect(codes.length).toBeGreaterThan(0)
        for (const code of codes) expect(`${ERROR_CODES[code].status}`).toBe(status)
      }
  })

  test('is served as it is made, and the page of it needs no script', async () => {
    const served = await get('/openapi.json', { headers: { origin: 'https://example.com' } })
    expect(served.headers.get('access-control-allow-origin')).toBe('*')
    expect(await served.json()).toEqual({ ...document, info: { ...document.info, version: '0.1.0' } })
    const page = await get('/docs', { headers: { accept: 'text/html' } })
    expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self'/)
    const text = await page.text()
    expect(text).not.toContain('<script')
    for (const { path } of eachOperation) expect(text).toContain(`<code>${path}</code>`)
  })
})

const told = (name: string): Look => ({
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
  look: async (names: string[]): Promise<Look[]> =>
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
const KEY = 'service-key-of-tests'
const here = { ...env, SUPABASE_SERVICE_ROLE_KEY: KEY, QUOTE_BOARD: { getByName: () => board } } as unknown as Env

const json = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
  body: JSON.stringify(body),
})

/** One answer of each operation that answers with JSON, and of problems of several kinds. */
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

describe('D6 what is answered is as the document says', () => {
  test.each(ANSWERS)('%s %s %d', async (operationId, path, status, init) => {
    const operation = eachOperation.find((each) => each.operation.operationId === operationId)?.operation
    const response = await getWith(here, path, init)
    const body: unknown = await response.json()
    expect([response.status, body], JSON.stringify(body)).toEqual([status, body])
    const type = response.headers.get('content-type')?.split(';')[0] ?? ''
    const schema = operation?.responses[`${status}`]?.content?.[type]?.schema
    expect(schema, `${operationId} tells nothing of ${status} ${type}`).toBeDefined()
    expect(operationId === 'getOpenApi' ? [] : faults(body, schema as Schema)).toEqual([])
    // A code stands in the list of its operation's status.
    if (status >= 400) expect(operation?.responses[`${status}`]?.description).toContain(`\`${(body as Problem).code}\``)
  })

  test('every operation that answers with JSON is among them', () => {
    const asked = new Set(ANSWERS.map(([operationId]) => operationId))
    expect(eachOperation.map(({ operation }) => operation.operationId).filter((id) => !asked.has(id))).toEqual([])
  })

  test('events and socket messages are as their schemas say', async () => {
    const stream = await openEvents('/api/v1/stream?product=BTC-USD&granularity=ONE_MINUTE')
    const { data } = await stream.next('candle')
    expect(faults(JSON.parse(data), { $ref: '#/components/schemas/Candle' })).toEqual([])
    const socket = await openSocket('/ws')
    socket.send({ op: 'subscribe', channels: ['candles.BTC-USD.ONE_MINUTE'], req_id: 1 })
    await socket.next('snapshot')
    for (const text of socket.texts)
      expect(faults(JSON.parse(text), { $ref: '#/components/schemas/SocketMessage' })).toEqual([])
  })
})
