import { env } from 'cloudflare:workers'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { addAsset } from '../../../src/db/assets.ts'
import { type LiveSql, openDatabase, withUserDatabase } from '../../../src/db/client.ts'
import { type LookupResult, type UserPortfolioObject, userPortfolio } from '../../../src/objects.ts'
import type { LotView } from '../../../src/protocol/portfolio.ts'
import { drainPortfolios } from '../../../workers/jobs/portfolios.ts'
import { createMember, type Member } from '../support/person.ts'
import { getWithEnv } from '../support/wire.ts'

/** The database of this file, by a connection that names itself. */
const urlAs = (application: string, database: string = env.HYPERDRIVE.connectionString): string => {
  const url = new URL(database)
  url.searchParams.set('application_name', application)
  return url.href
}

async function asTest<T>(use: (sql: LiveSql) => Promise<T>): Promise<T> {
  const sql = openDatabase('live', urlAs('test', env.ADMIN_DATABASE_URL))
  try {
    return await use(sql)
  } finally {
    await sql.end()
  }
}

const asset = (symbol: string) => ({
  symbol,
  name: `Connections ${symbol}`,
  type: 'stock' as const,
  category: 'stock' as const,
  code: symbol,
  provider: 'yahoo' as const,
  provider_id: symbol,
  currency: 'USD',
  isin: null,
})

/** A Worker whose connections name themselves. The connections of objects do not. */
const worker = (more: Record<string, unknown> = {}): Env =>
  ({ ...env, HYPERDRIVE: { connectionString: urlAs('worker') }, ...more }) as unknown as Env

let member: Member
const ask = (of: Env, method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  getWithEnv(of, path, {
    method,
    headers: { authorization: `Bearer ${member.token}`, 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })

const BUY = { symbol: 'KCA', quantity: '10', price: '100', traded_at: '2026-01-05T10:00:00Z' }

beforeAll(async () => {
  await asTest(async (sql) => {
    await addAsset(sql, asset('KCA'))
    await sql.unsafe(`
      CREATE TABLE test_logins (application TEXT NOT NULL);
      CREATE FUNCTION record_login() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
      BEGIN
        INSERT INTO public.test_logins VALUES (current_setting('application_name'));
      END $$;
      CREATE EVENT TRIGGER record_login ON login EXECUTE FUNCTION record_login()`)
  })
})
beforeEach(async () => {
  member = await createMember()
})

describe('connections', () => {
  /** The connections that Postgres has accepted during `work`, by who opened them. */
  async function countLogins(work: () => Promise<unknown>): Promise<Record<string, number>> {
    await asTest((sql) => sql`DELETE FROM test_logins`)
    await work()
    const rows = await asTest(
      (sql) => sql<{ application: string; n: number }[]>`
        SELECT application, count(*)::integer AS n FROM test_logins WHERE application <> 'test' GROUP BY application`,
    )
    return Object.fromEntries(rows.map(({ application, n }) => [application, n]))
  }

  test('a purchase with an Idempotency-Key opens one connection in the Worker and one in the user’s object', async () => {
    // The object reads what is written only once it has read a portfolio.
    await userPortfolio(env, member.id).refresh()
    const logins = await countLogins(async () => {
      const response = await ask(worker(), 'POST', '/api/v1/stocks', BUY, { 'idempotency-key': 'one' })
      expect(response.status).toBe(201)
    })
    expect(logins).toEqual({ worker: 1, 'postgres.js': 1 })
    expect((await userPortfolio(env, member.id).status()).positions).toBe(1)
  })

  test('a page of lots opens one connection', async () => {
    await ask(worker(), 'POST', '/api/v1/stocks', BUY)
    const logins = await countLogins(async () => {
      expect((await ask(worker(), 'GET', '/user/stocks')).status).toBe(200)
    })
    expect(logins).toEqual({ worker: 1 })
  })

  test('a request that needs no database opens no connection', async () => {
    expect(await countLogins(() => ask(worker(), 'GET', '/openapi.json'))).toEqual({})
  })
})

describe('transactions', () => {
  /** How many transactions the Worker has open, as Postgres sees it. */
  const openTransactions = (): Promise<number> =>
    asTest(async (sql) => {
      const [row] = await sql<{ n: number }[]>`
        SELECT count(*)::integer AS n FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'worker' AND xact_start IS NOT NULL`
      return row!.n
    })

  /** Calls to objects and queues, each with the number of transactions that were open meanwhile. */
  let calls: { call: string; open: number }[]
  const record = async <T>(call: string, result: T): Promise<T> => {
    calls.push({ call, open: await openTransactions() })
    return result
  }

  const unknown = (name: string): LookupResult => ({ name, kind: 'unknown', asked: false })
  const board = {
    lookup: (names: string[]) => record('lookup', names.map(unknown)),
    discover: async (name: string): Promise<LookupResult> => {
      if (name.startsWith('KCN')) await asTest((sql) => addAsset(sql, asset(name)))
      return record('discover', { name, kind: 'unpriced', symbol: name, reason: 'unavailable', retryAfter: 1 })
    },
  }
  const object: Partial<UserPortfolioObject> = {
    applyChange: () => record('applyChange', undefined),
    enriched: () => record('enriched', null),
    requestRefresh: () => record('requestRefresh', true),
  }
  const observed = worker({
    QUOTE_BOARD: { getByName: () => board },
    USER_PORTFOLIO: { getByName: () => object },
    REFRESH_QUEUE: { send: () => record('send', undefined) },
    LOOKUP_LIMIT: { limit: async () => ({ success: true }) },
  })

  /** The calls of `work`, each of which must have found no open transaction. */
  async function callsOf(work: () => Promise<unknown>): Promise<string[]> {
    calls = []
    await work()
    expect(calls.filter(({ open }) => open > 0)).toEqual([])
    return calls.map(({ call }) => call)
  }

  async function buy(symbol = 'KCA'): Promise<LotView> {
    const response = await ask(observed, 'POST', '/api/v1/stocks', { ...BUY, symbol }, { 'idempotency-key': symbol })
    expect(response.status).toBe(201)
    return response.json()
  }

  test('the check sees a transaction that is open during a call', async () => {
    calls = []
    await withUserDatabase(observed, { id: member.id }, async (sql) => {
      await sql`SELECT 1`
      await board.lookup(['KCA'])
    })
    expect(calls).toEqual([{ call: 'lookup', open: 1 }])
  })

  test('none is open while a board or a provider is asked for an asset, or the user’s object is notified', async () => {
    expect(await callsOf(() => buy('KCN1'))).toEqual(['lookup', 'discover', 'applyChange'])
  })

  test('none is open during the calls of a change, a sale, a deletion, an import and another currency', async () => {
    const lot = await buy()
    const path = `/api/v1/stocks/${lot.id}`
    expect(await callsOf(() => ask(observed, 'PATCH', path, { price: '90', symbol: 'KCN2' }))).toEqual([
      'lookup',
      'discover',
      'applyChange',
    ])
    const sale = { quantity: '1', price: '95' }
    expect(await callsOf(() => ask(observed, 'POST', `${path}/sell`, sale))).toEqual(['applyChange'])
    expect(await callsOf(() => ask(observed, 'POST', `${path}/sell?dry_run=true`, sale))).toEqual([])
    const csv = 'date,symbol,quantity,price,currency,type\n2026-01-06,KCN3,1,5,USD,buy\n'
    const csvType = { 'content-type': 'text/csv' }
    expect(await callsOf(() => ask(observed, 'POST', '/api/v1/portfolio/import', csv, csvType))).toEqual([
      'discover',
      'applyChange',
    ])
    const currency = { currency: 'EUR' }
    expect(await callsOf(() => ask(observed, 'PATCH', '/api/v1/users/profile', currency))).toEqual(['applyChange'])
    const other = await buy('KCN3')
    expect(await callsOf(() => ask(observed, 'DELETE', `/api/v1/stocks/${other.id}`))).toEqual(['applyChange'])
  })

  test('none is open during the calls of pages and of a portfolio that is read live', async () => {
    expect(await callsOf(() => ask(observed, 'GET', '/user'))).toEqual(['enriched'])
    const live = () => ask(observed, 'GET', '/api/v1/stocks/portfolio-enriched')
    expect(await callsOf(live)).toEqual(['enriched', 'requestRefresh', 'send'])
  })

  test('none is open while the outbox notifies a user’s object', async () => {
    const lot = await buy()
    // Several users are notified at once, and another user's transaction may be open meanwhile.
    await asTest((sql) => sql`DELETE FROM portfolio_outbox`)
    await asTest((sql) => sql`UPDATE activities SET quantity = 3 WHERE id = ${lot.id}`)
    expect(await callsOf(() => drainPortfolios(observed, Date.now()))).toEqual(['applyChange'])
  })
})
