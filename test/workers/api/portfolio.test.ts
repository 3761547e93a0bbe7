import { createExecutionContext, createMessageBatch, getQueueResult } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { UserPortfolio } from '../../../durable-objects/portfolio/user-portfolio.ts'
import { withLiveDatabase } from '../../../src/db/client.ts'
import { deleteExpiredIdempotencyKeys } from '../../../src/db/idempotency.ts'
import { fillFxRates, readPortfoliosOfMinute } from '../../../src/db/portfolio-outbox.ts'
import { userPortfolio } from '../../../src/objects.ts'
import { CLOSE_CODES, type Problem } from '../../../src/protocol/errors.ts'
import type { EnrichedPortfolio, Totals } from '../../../src/protocol/portfolio.ts'
import * as cron from '../../../workers/jobs/portfolios.ts'
import { type RefreshJob, refreshPortfolios } from '../../../workers/refresh-queue.ts'
import { createMember, type Member, ORIGIN } from '../support/person.ts'
import { closeAll, getWithEnv, type Message, openSocket, waitFor } from '../support/wire.ts'

const KEY = 'the-service-key-of-these-tests'
const ALLOWED = 'https://app.example'
Object.assign(env, { SUPABASE_SERVICE_ROLE_KEY: KEY, WS_ALLOWED_ORIGINS: ALLOWED })

const codeOf = async (response: Response) => [response.status, ((await response.json()) as Problem).code]
const sql = (text: string, ...values: (string | number)[]) =>
  withLiveDatabase(env, (live) => live.unsafe(text, values as string[]))

/** Asks by a bearer token alone. */
const by = (token: string, path: string, init: RequestInit = {}, other = env) =>
  getWithEnv(other, path, { ...init, headers: { authorization: `Bearer ${token}`, ...init.headers } })
const postBy = (token: string, path: string, body: unknown, other = env) =>
  by(
    token,
    path,
    { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } },
    other,
  )
const upgrade = (path: string, headers: Record<string, string>) =>
  getWithEnv(env, path, { headers: { ...headers, upgrade: 'websocket' } })
const bearer = ({ token }: Member) => ({ authorization: `Bearer ${token}` })
const cookiesOf = ({ who }: Member) => ({
  cookie: [...who.cookies].map(([name, value]) => `${name}=${value}`).join('; '),
})

async function ticketOf({ token }: Member): Promise<string> {
  const answer = await postBy(token, '/api/v1/auth/ticket', {})
  return ((await answer.json()) as { ticket: string }).ticket
}

/** What came of a handshake; a socket that was opened is closed. */
async function outcome(response: Response): Promise<unknown> {
  if (!response.webSocket) return codeOf(response)
  response.webSocket.accept()
  response.webSocket.close(1000)
  return 101
}

/** Somebody with a portfolio, as it is made past Kerb. */
async function holder(): Promise<Member> {
  const of = await createMember()
  await sql('INSERT INTO profiles (user_id, name) VALUES ($1, $2)', of.id, of.who.name)
  await sql('INSERT INTO portfolios (user_id) VALUES ($1)', of.id)
  return of
}

/** Writes a purchase past Kerb; gives its id. @param at when, an expression of SQL */
async function bought(userId: string, quantity: number, at = "now() - interval '3 days'"): Promise<string> {
  const id = crypto.randomUUID()
  await sql(
    `INSERT INTO activities (id, user_id, kind, asset_id, quantity, price, fees, currency, traded_at)
     SELECT $1, $2, 'buy', asset_id, $3, 100, 0, 'USD', ${at} FROM assets WHERE symbol = 'AAPL' AND currency = 'USD'`,
    id,
    userId,
    quantity,
  )
  return id
}

const waiting = async (userId: string) =>
  (await sql('SELECT count(*)::int AS n FROM portfolio_outbox WHERE user_id = $1', userId))[0]?.n

/** The portfolio's own figures, read as its user does. */
const enriched = async ({ token }: Member): Promise<EnrichedPortfolio> =>
  (await by(token, '/api/v1/stocks/portfolio-enriched')).json()

let ada: Member
let grace: Member

beforeAll(async () => {
  ada = await holder()
  grace = await holder()
})

afterEach(async () => {
  vi.restoreAllMocks()
  await closeAll()
})

describe('tickets', () => {
  test('a ticket opens one socket of its user, once', async () => {
    const answer = await postBy(ada.token, '/api/v1/auth/ticket', {})
    expect([answer.status, answer.headers.get('cache-control')]).toEqual([200, 'no-store'])
    const { ticket, expires_in } = (await answer.json()) as { ticket: string; expires_in: number }
    expect([ticket.split('.')[0], expires_in]).toEqual([ada.id, 30])
    const socket = await openSocket(`/ws/portfolio?ticket=${ticket}`)
    socket.send({ op: 'subscribe', channels: ['portfolio'], req_id: 1 })
    expect(await socket.next('snapshot')).toMatchObject({ channel: 'portfolio', positions: [] })
    expect(await outcome(await upgrade(`/ws/portfolio?ticket=${ticket}`, {}))).toEqual([401, 'unauthorized'])
  })

  test('a ticket works for no other user, and expires after TICKET_TTL_MS', async () => {
    const [id, secret] = (await ticketOf(ada)).split('.') as [string, string]
    for (const ticket of [`${grace.id}.${secret}`, `${id}.${secret}x`, secret, `${id}.`, 'x', ''])
      expect(await outcome(await upgrade(`/ws/portfolio?ticket=${ticket}`, {})), ticket).toEqual([401, 'unauthorized'])
    const now = Date.now.bind(Date)
    vi.spyOn(Date, 'now').mockImplementation(() => now() + 30_001)
    expect(await outcome(await upgrade(`/ws/portfolio?ticket=${id}.${secret}`, {}))).toEqual([401, 'unauthorized'])
  })

  test('a ticket requires a session; another site cannot get one with its visitor’s cookies', async () => {
    expect(await codeOf(await getWithEnv(env, '/api/v1/auth/ticket', { method: 'POST' }))).toEqual([
      401,
      'unauthorized',
    ])
    expect((await ada.who.post('/api/v1/auth/ticket', {})).status).toBe(200)
    const evil = { origin: 'https://evil.example' }
    expect(await codeOf(await ada.who.post('/api/v1/auth/ticket', {}, evil))).toEqual([403, 'forbidden'])
    const foreign = await by(ada.token, '/api/v1/auth/ticket', { method: 'POST', headers: { origin: ALLOWED } })
    expect([foreign.status, foreign.headers.get('access-control-allow-origin')]).toEqual([200, '*'])
    const preflight = await getWithEnv(env, '/api/v1/auth/ticket', {
      method: 'OPTIONS',
      headers: { origin: ALLOWED, 'access-control-request-method': 'POST' },
    })
    expect(preflight.headers.get('access-control-allow-methods')).toContain('POST')
    expect(preflight.headers.get('access-control-allow-credentials')).toBeNull()
  })
})

describe('who may open a socket of a user', () => {
  const [evil, own, allowed] = ['https://evil.example', ORIGIN, ALLOWED].map((origin) => ({ origin }))
  const forbidden = [403, 'forbidden']
  const CASES: [string, (of: Member) => Record<string, string>, unknown][] = [
    ['a program with a token', bearer, 101],
    ['our page with a token', (of) => ({ ...bearer(of), ...own }), 101],
    ['a page of an allowed origin with a token', (of) => ({ ...bearer(of), ...allowed }), 101],
    ['another page with a token', (of) => ({ ...bearer(of), ...evil }), forbidden],
    ['a page without an origin of its own', (of) => ({ ...bearer(of), origin: 'null' }), forbidden],
    ['our page with cookies', (of) => ({ ...cookiesOf(of), ...own }), 101],
    ['a page of an allowed origin with cookies', (of) => ({ ...cookiesOf(of), ...allowed }), 101],
    ['another page with cookies', (of) => ({ ...cookiesOf(of), ...evil }), forbidden],
    ['a program with cookies', cookiesOf, forbidden],
    ['our page with nothing', () => ({ ...own }), [401, 'unauthorized']],
    ['a program with a wrong token', () => ({ authorization: 'Bearer x' }), [401, 'unauthorized']],
  ]
  test.each(CASES)('%s', async (_who, headers, expected) => {
    expect(await outcome(await upgrade('/ws/portfolio', headers(ada)))).toEqual(expected)
  })

  test('a ticket is accepted from allowed origins only, and an attempt from another does not use it up', async () => {
    const ticket = await ticketOf(ada)
    const path = `/ws/portfolio?ticket=${ticket}`
    for (const other of ['/ws/portfolio', '/ws'])
      expect(await outcome(await upgrade(`${other}?ticket=${ticket}`, { ...evil }))).toEqual(forbidden)
    expect(await outcome(await upgrade(path, { ...allowed }))).toBe(101)
  })

  test('a token in the URL is rejected, whatever else the request has', async () => {
    for (const path of ['/ws/portfolio', '/ws'])
      for (const name of ['token', 'access_token'])
        expect(await codeOf(await upgrade(`${path}?${name}=${ada.token}`, bearer(ada)))).toEqual([
          400,
          'invalid_request',
        ])
  })

  test('the handshake renews expired cookies', async () => {
    const { '__Host-kerb_refresh': refresh } = Object.fromEntries(ada.who.cookies)
    const response = await upgrade('/ws/portfolio', { cookie: `__Host-kerb_refresh=${refresh}`, ...own })
    expect(response.headers.getSetCookie().join()).toContain('__Host-kerb_access=')
    expect(await outcome(response)).toBe(101)
  })

  test('signing out and changing the password close all sockets and void all tickets', async () => {
    const of = await createMember()
    const ends: [string, unknown][] = [
      ['password/change', { current_password: 'a long enough password', password: 'another long password' }],
      ['sign-out', {}],
    ]
    for (const [path, body] of ends) {
      const socket = await openSocket('/ws/portfolio', env, bearer(of))
      const ticket = await ticketOf(of)
      expect((await of.who.post(`/api/v1/auth/${path}`, body)).ok).toBe(true)
      const closed = await waitFor('the socket to be let go', () => socket.closed())
      expect(closed.code, path).toBe(CLOSE_CODES.signed_out)
      expect(await outcome(await upgrade(`/ws/portfolio?ticket=${ticket}`, {}))).toEqual([401, 'unauthorized'])
    }
  })
})

describe('/ws', () => {
  test('/ws carries the portfolio beside public channels', async () => {
    await bought(ada.id, 2)
    await cron.drainPortfolios(env, Date.now())
    const socket = await openSocket('/ws', env, bearer(ada))
    socket.send({ op: 'subscribe', channels: ['portfolio', 'asset.AAPL', 'candles.ONE-USD.ONE_MINUTE'], req_id: 1 })
    const channels: unknown[] = []
    for (let i = 0; i < 3; i++) channels.push((await socket.next('snapshot')).channel)
    expect(channels.sort()).toEqual(['asset.AAPL', 'portfolio', undefined])
    await bought(ada.id, 3)
    await cron.drainPortfolios(env, Date.now())
    const isBought = ({ portfolio }: Message) => (portfolio as Partial<Totals>).invested === '500'
    const { position } = await socket.next('position_update', isBought)
    expect(position).toMatch(/portfolio:\w+-\d+/)
    // Back from there: nothing was missed.
    socket.close()
    const again = await openSocket('/ws', env, bearer(ada))
    again.send({ op: 'subscribe', channels: ['portfolio'], since: position, req_id: 2 })
    expect(await again.next('subscribed')).toMatchObject({ channels: ['portfolio'], recovered: true })
  })

  test('P8 without a session /ws refuses the portfolio and serves public channels', async () => {
    for (const headers of [{}, { ...cookiesOf(ada), origin: 'https://evil.example' }]) {
      const socket = await openSocket('/ws', env, headers)
      socket.send({ op: 'subscribe', channels: ['candles.ONE-USD.ONE_MINUTE', 'portfolio'], req_id: 1 })
      expect(await socket.next('error')).toMatchObject({ code: 'unauthorized', field: 'channels/1', req_id: 1 })
      socket.send({ op: 'subscribe', channels: ['candles.ONE-USD.ONE_MINUTE'], req_id: 2 })
      expect(await socket.next('subscribed')).toMatchObject({ req_id: 2 })
    }
  })

  test('signing out ends the portfolio channel of /ws, and public channels go on', async () => {
    const of = await holder()
    const socket = await openSocket('/ws', env, bearer(of))
    socket.send({ op: 'subscribe', channels: ['portfolio', 'candles.ONE-USD.ONE_MINUTE'], req_id: 1 })
    for (let i = 0; i < 2; i++) await socket.next('snapshot')
    await of.who.post('/api/v1/auth/sign-out', {})
    expect(await socket.next('error')).toMatchObject({ code: 'unauthorized' })
    socket.send({ op: 'ping', req_id: 2 })
    expect(await socket.next('pong')).toMatchObject({ req_id: 2 })
  })
})

/** The same Worker with a queue that keeps what it is given. */
function withQueue() {
  const jobs: RefreshJob[] = []
  const queue = {
    send: async (job: RefreshJob) => void jobs.push(job),
    sendBatch: async (messages: { body: RefreshJob }[]) => void jobs.push(...messages.map(({ body }) => body)),
  }
  return { jobs, env: { ...env, REFRESH_QUEUE: queue } as unknown as typeof env }
}

const batchOf = (queue: string, jobs: readonly RefreshJob[]) =>
  createMessageBatch<RefreshJob>(
    queue,
    jobs.map((body, i) => ({ id: `${i}`, timestamp: new Date(), attempts: 1, body })),
  )
const QUEUE = 'kerb-portfolios'
const JOB_MS = 60_000

describe('the enriched portfolio', () => {
  test('the enriched portfolio answers 202 and queues one job per user, then 200 to its user alone', async () => {
    const of = await holder()
    const { jobs, env: queued } = withQueue()
    const paths = ['enriched', 'cache', 'enriched', 'enriched'].map((name) => `/api/v1/stocks/portfolio-${name}`)
    for (const answer of await Promise.all(paths.map((path) => by(of.token, path, {}, queued)))) {
      const told = ['location', 'retry-after', 'cache-control'].map((name) => answer.headers.get(name))
      expect([answer.status, ...told]).toEqual([202, '/api/v1/stocks/portfolio-cache', '1', 'private, no-store'])
      expect(await answer.json()).toMatchObject({ location: '/api/v1/stocks/portfolio-cache' })
    }
    expect(jobs).toEqual([{ user_id: of.id }])
    await refreshPortfolios(batchOf(QUEUE, jobs), env)
    for (const path of paths.slice(0, 2)) {
      const answer = await by(of.token, path, {}, queued)
      expect([answer.status, answer.headers.get('cache-control')]).toEqual([200, 'private, no-store'])
      expect(await answer.json()).toMatchObject({ portfolio: { invested: '0' }, positions: [] })
    }
    expect(jobs).toHaveLength(1)
    for (const path of paths.slice(0, 2))
      expect(await codeOf(await getWithEnv(env, path))).toEqual([401, 'unauthorized'])
  })

  test('the queue delivers the refresh job', async () => {
    await bought(grace.id, 4)
    await cron.drainPortfolios(env, Date.now())
    expect((await by(grace.token, '/api/v1/stocks/portfolio-enriched')).status).toBe(202)
    const answer = await waitFor('the portfolio', async () => {
      const response = await by(grace.token, '/api/v1/stocks/portfolio-cache')
      return response.status === 200 ? response : null
    })
    const { positions, portfolio, age_seconds, refreshed_at } = (await answer.json()) as EnrichedPortfolio
    expect(portfolio).toMatchObject({ invested: '400' })
    expect([age_seconds < 10, Date.parse(refreshed_at) > 0]).toEqual([true, true])
    // The documented keys, and those that a holding shows besides them.
    const keys = 'cmp present_value gain_loss gain_loss_percent day_change pe_ratio pe_as_of currency stale'.split(' ')
    for (const key of keys) expect(positions[0]).toHaveProperty(key)
    expect(positions).toMatchObject([{ symbol: 'AAPL', quantity: '4' }])
  })
})

describe('POST /refresh-portfolio', () => {
  test('a user refreshes their own portfolio, the service key anyone’s, one job at a time', async () => {
    const [one, other] = [await holder(), await holder()]
    const { jobs, env: queued } = withQueue()
    const ask = async (token: string, body: unknown) => {
      const answer = await postBy(token, '/refresh-portfolio', body, queued)
      return answer.status === 202 ? ((await answer.json()) as { queued: boolean }).queued : codeOf(answer)
    }
    expect(await ask(one.token, {})).toBe(true)
    expect(await ask(one.token, { userId: one.id })).toBe(false)
    expect(await ask(one.token, { userId: other.id })).toEqual([403, 'forbidden'])
    expect(await ask(KEY, { userId: other.id })).toBe(true)
    expect(await ask(KEY, {})).toEqual([400, 'invalid_request'])
    expect(await ask(KEY, { userId: 'x' })).toEqual([400, 'invalid_request'])
    expect(await ask('x', { userId: other.id })).toEqual([401, 'unauthorized'])
    expect(jobs.map(({ user_id }) => user_id)).toEqual([one.id, other.id])
    const evil = await one.who.post('/refresh-portfolio', {}, { origin: 'https://evil.example' })
    expect(await codeOf(evil)).toEqual([403, 'forbidden'])

    // A job that never came is not waited for for ever.
    const now = Date.now.bind(Date)
    vi.spyOn(Date, 'now').mockImplementation(() => now() + JOB_MS + 1)
    expect(await ask(one.token, {})).toBe(true)
  })
})

describe('jobs of the queue', () => {
  test('a failed refresh job is retried while the others succeed, each user once', async () => {
    const users = [await holder(), await holder()]
    const refresh = UserPortfolio.prototype.refresh
    const done: string[] = []
    vi.spyOn(UserPortfolio.prototype, 'refresh').mockImplementation(async function (this: UserPortfolio) {
      const name = (this as unknown as { ctx: DurableObjectState }).ctx.id.name ?? ''
      done.push(name)
      if (name.endsWith(users[0]?.id ?? '')) throw new Error('killed')
      return refresh.call(this)
    })
    const batch = batchOf(
      QUEUE,
      [users[0], users[1], users[1]].map((user) => ({ user_id: user?.id ?? '' })),
    )
    await refreshPortfolios(batch, env)
    const result = await getQueueResult(batch, createExecutionContext())
    expect(result.explicitAcks.sort()).toEqual(['1', '2'])
    expect(result.retryMessages.map(({ msgId }) => msgId)).toEqual(['0'])
    expect(done).toHaveLength(2)
  })

  test('jobs that failed for good are logged and counted', async () => {
    const lines: string[] = []
    vi.spyOn(console, 'log').mockImplementation((line) => lines.push(line))
    await refreshPortfolios(batchOf('kerb-portfolios-dead', [{ user_id: ada.id }, { user_id: grace.id }]), env)
    expect(lines.filter((line) => line.includes('portfolio_refresh_given_up'))).toHaveLength(2)
    expect(await sql(`SELECT value FROM system_metrics WHERE metric_name = 'portfolio_jobs_dead'`)).toEqual([
      { value: 2 },
    ])
  })

  test('every portfolio is refreshed at its minute of the hour, unless a socket watches it', async () => {
    const users = (await sql('SELECT user_id FROM portfolios')).map(({ user_id }) => user_id as string)
    const byMinute = await withLiveDatabase(env, (live) =>
      Promise.all(Array.from({ length: 60 }, (_, minute) => readPortfoliosOfMinute(live, minute))),
    )
    expect(byMinute.flat().sort()).toEqual(users.sort())
    const minute = byMinute.findIndex((of) => of.includes(ada.id))
    const { jobs, env: queued } = withQueue()
    expect(await cron.queueHourlyRefresh(queued, Date.UTC(2026, 0, 31, 14, minute, 30))).toEqual({
      queued: jobs.length,
    })
    expect(jobs.map(({ user_id }) => user_id).sort()).toEqual(byMinute[minute]?.sort())

    const socket = await openSocket('/ws/portfolio', env, bearer(ada))
    const loads = async () => (await userPortfolio(env, ada.id).status()).loads
    const before = await loads()
    const mine = jobs.filter(({ user_id }) => user_id === ada.id)
    await refreshPortfolios(batchOf(QUEUE, mine), env)
    expect(await loads()).toBe(before)
    socket.close()
    await waitFor('the socket to be closed', async () =>
      (await userPortfolio(env, ada.id).status()).sockets === 0 ? true : null,
    )
    await refreshPortfolios(batchOf(QUEUE, mine), env)
    expect(await loads()).toBe(before + 1)
  })
})

describe('the outbox', () => {
  test('writes by other programs reach the socket', async () => {
    const of = await holder()
    const socket = await openSocket('/ws/portfolio', env, bearer(of))
    socket.send({ op: 'subscribe', channels: ['portfolio', 'asset.AAPL'], req_id: 1 })
    for (let i = 0; i < 2; i++) await socket.next('snapshot')
    const id = await bought(of.id, 5)
    expect(await waiting(of.id)).toBe(1)
    await cron.drainPortfolios(env, Date.now())
    expect(await waiting(of.id)).toBe(0)
    expect(await socket.next('lot_update')).toMatchObject({ lots: [{ id, quantity: '5' }] })
    expect(await socket.next('position_update')).toMatchObject({ positions: [{ symbol: 'AAPL', quantity: '5' }] })
    await sql('DELETE FROM activities WHERE id = $1', id)
    await cron.drainPortfolios(env, Date.now())
    // The lots went with it, and nobody has noted which.
    const snapshot = await socket.next('snapshot', ({ channel }) => channel === 'asset.AAPL')
    expect(snapshot).toMatchObject({ positions: [], lots: [] })
  })

  test('an object that fails is left to the next run, and does not delay other users', async () => {
    const [one, other] = [await holder(), await holder()]
    for (const of of [one, other]) await refreshPortfolios(batchOf(QUEUE, [{ user_id: of.id }]), env)
    for (const of of [one, other]) await bought(of.id, 6)
    const applyChange = UserPortfolio.prototype.applyChange
    vi.spyOn(UserPortfolio.prototype, 'applyChange').mockImplementation(async function (this: UserPortfolio, change) {
      if (`${(this as unknown as { ctx: DurableObjectState }).ctx.id.name}`.endsWith(one.id)) throw new Error('killed')
      return applyChange.call(this, change)
    })
    await expect(cron.drainPortfolios(env, Date.now())).rejects.toThrow('1 users could not be notified, 1 were')
    expect([await waiting(one.id), await waiting(other.id)]).toEqual([1, 0])
    expect((await enriched(one)).positions).toEqual([])
    expect((await enriched(other)).positions).toMatchObject([{ quantity: '6' }])
    vi.restoreAllMocks()

    // Lots have been made before: which ones, nobody knows any more.
    const socket = await openSocket('/ws/portfolio', env, bearer(one))
    socket.send({ op: 'subscribe', channels: ['asset.AAPL'], req_id: 1 })
    await socket.next('snapshot')
    expect(await cron.drainPortfolios(env, Date.now())).toEqual({ notified: 1 })
    expect(await waiting(one.id)).toBe(0)
    expect((await enriched(one)).positions).toMatchObject([{ quantity: '6' }])
    expect(await socket.next('snapshot')).toMatchObject({ lots: [{ quantity: '6' }] })
  })

  test('concurrent runs notify each user once', async () => {
    const of = await holder()
    await refreshPortfolios(batchOf(QUEUE, [{ user_id: of.id }]), env)
    await bought(of.id, 7)
    const told = vi.spyOn(UserPortfolio.prototype, 'applyChange')
    await Promise.all([1, 2, 3].map(() => cron.drainPortfolios(env, Date.now())))
    expect(told).toHaveBeenCalledTimes(1)
    expect((await enriched(of)).positions).toMatchObject([{ quantity: '7' }])
  })

  test('an activity in the future takes effect when its time comes', async () => {
    const of = await holder()
    await refreshPortfolios(batchOf(QUEUE, [{ user_id: of.id }]), env)
    await bought(of.id, 8, "now() + interval '10 minutes'")
    await cron.drainPortfolios(env, Date.now())
    expect((await enriched(of)).positions).toEqual([])
    expect(await cron.queueDuePortfolios(env, Date.now())).toEqual({ due: 0 })
    const later = Date.now() + 11 * 60_000
    expect(await cron.queueDuePortfolios(env, later)).toEqual({ due: 1 })
    await cron.drainPortfolios(env, later)
    expect((await enriched(of)).positions).toMatchObject([{ quantity: '8' }])
    // Once is enough: the last run says since when.
    await sql(`INSERT INTO job_runs (job, period_seconds, started_at, ended_at, outcome, ms, ok_at)
      VALUES ('portfolio_due', 60, now(), now(), 'ok', 1, now() + interval '16 minutes')`)
    expect(await cron.queueDuePortfolios(env, later)).toEqual({ due: 0 })
  })

  test('cron fills rates and deletes expired keys, and /health reports the outbox', async () => {
    expect(await withLiveDatabase(env, (live) => fillFxRates(live))).toBe(0)
    await sql(
      `INSERT INTO idempotency_keys (user_id, key, request, status, headers, body, created_at)
       SELECT $1, k, 'x', 200, '{}', '', now() - k::interval FROM unnest(ARRAY['23 hours', '25 hours']) AS k`,
      ada.id,
    )
    expect(await withLiveDatabase(env, (live) => deleteExpiredIdempotencyKeys(live, 1, Date.now()))).toBe(1)
    await bought(ada.id, 9)
    const health = await (await getWithEnv(env, '/health?verbose')).json()
    // The very moment of somebody's write is for nobody else (P8).
    const since = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:00Z$/)
    expect(health).toMatchObject({ portfolio_outbox: { rows: 1, since } })
  })
})
