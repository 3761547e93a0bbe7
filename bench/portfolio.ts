import { randomUUID } from 'node:crypto'
import { WebSocket } from 'ws'
import { openDatabase } from '../src/db/client.ts'
import { cpuMicroseconds } from './child.ts'
import { type Figures, median, quantile, rounded, type Size } from './figures.ts'
import { closeConnections, sendRequest } from './requests.ts'
import { type BenchServer, startServer } from './server.ts'

/**
 * `warmUp` rounds go first, which compile. The CPU time of `cpuRounds` changes is measured together: the clock of it has
 * steps of 10 ms.
 */
const SIZES = {
  full: { lots: 10_000, rounds: 60, cpuRounds: 400, warmUp: 10 },
  quick: { lots: 1_000, rounds: 3, cpuRounds: 60, warmUp: 3 },
}
type Scale = (typeof SIZES)[Size]
const FEW_LOTS = 100
/** Assets that the lots are divided among: as many in the small portfolio as in the large one. */
const ASSETS = 100
/** Round trips that are timed together. */
const ROUND_TRIPS = 50
const FRAME_TIMEOUT_MS = 30_000

type Frame = { type: string; position?: string; positions?: { asset_id: number; cmp?: string }[]; portfolio?: object }

/** A socket of one user, and the frames that have come. */
async function openSocket(url: string, token: string) {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws/portfolio`, {
    headers: { authorization: `Bearer ${token}` },
  })
  const waiting = new Set<(frame: Frame, at: number) => void>()
  socket.on('message', (data) => {
    const at = performance.now()
    const frame = JSON.parse(String(data)) as Frame
    for (const each of [...waiting]) each(frame, at)
    // As our client does: a connection that never acks gets a frame every UNACKED_SEND_INTERVAL_MS at most.
    if (frame.position !== undefined) socket.send(JSON.stringify({ op: 'ack', position: frame.position }))
  })
  const next = (fits: (frame: Frame) => boolean): Promise<number> =>
    new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Error('no frame came')), FRAME_TIMEOUT_MS)
      const look = (frame: Frame, at: number) => {
        if (!fits(frame)) return
        clearTimeout(timer)
        waiting.delete(look)
        done(at)
      }
      waiting.add(look)
    })
  await new Promise((done, fail) => socket.once('open', done).once('error', fail))
  const snapshot = next(({ type }) => type === 'snapshot')
  socket.send(JSON.stringify({ op: 'subscribe', channels: ['portfolio'] }))
  await snapshot
  return { next, close: () => socket.close() }
}

/** Signs a new user up and in. */
async function signUpUser(server: BenchServer, name: string): Promise<{ id: string; token: string }> {
  const account = { email: `${name}@example.com`, password: 'a long enough password', name }
  const up = await sendRequest(`${server.url}/api/v1/auth/sign-up`, account)
  if (up.status >= 300) throw new Error(`sign-up: ${up.status} ${up.text}`)
  const { status, text } = await sendRequest(`${server.url}/api/v1/auth/sign-in`, account)
  if (status !== 200) throw new Error(`sign-in: ${status} ${text}`)
  const token = (JSON.parse(text) as { access_token: string }).access_token
  const { sub } = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as { sub: string }
  return { id: sub, token }
}

/** Purchases of one user, by SQL, as an import would write them; what follows from them is cron's to make. */
async function insertLots(server: BenchServer, user: string, lots: number): Promise<void> {
  const sql = openDatabase('live', server.databaseUrl)
  const assets = await sql<{ asset_id: number; currency: string }[]>`
    SELECT asset_id, currency FROM assets WHERE type = 'stock' AND currency = 'USD' AND provider = 'yahoo' ORDER BY asset_id LIMIT ${ASSETS}`
  await sql`INSERT INTO profiles (user_id, name) VALUES (${user}, 'Bench') ON CONFLICT DO NOTHING`
  await sql`INSERT INTO portfolios (user_id) VALUES (${user}) ON CONFLICT DO NOTHING`
  const rows = Array.from({ length: lots }, (_, n) => {
    const { asset_id, currency } = assets[n % ASSETS] as (typeof assets)[number]
    return {
      id: randomUUID(),
      user_id: user,
      kind: 'buy',
      asset_id,
      quantity: `${(n % 7) + 1}.25`,
      price: `${100 + (n % 50)}.5`,
      fees: '1.25',
      currency,
      traded_at: new Date(Date.UTC(2026, 0, 2) + n * 60_000).toISOString(),
    }
  })
  for (let from = 0; from < rows.length; from += 1_000)
    await sql`INSERT INTO activities ${sql(rows.slice(from, from + 1_000))}`
  await sql.end()
  const { status, text } = await sendRequest(`${server.url}/_bench/cron`, {})
  if (status !== 204) throw new Error(`cron: ${status} ${text}`)
}

/** Queries that Postgres has been asked of tables that belong to users, since its statistics began. */
async function tableReads(server: BenchServer): Promise<number> {
  const sql = openDatabase('live', server.databaseUrl)
  try {
    const [row] = await sql<{ reads: number }[]>`
      SELECT sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0))::integer AS reads FROM pg_stat_user_tables
      WHERE relname IN ('lots', 'lot_closures', 'activities', 'portfolios', 'profiles', 'own_assets', 'fx_rates')`
    return row?.reads ?? 0
  } finally {
    await sql.end()
  }
}

/**
 * The time of one bare round trip to the database, over a connection that is open: where a price change could at best be
 * looked up. What it takes to get one is taken off.
 */
async function roundTripMs(server: BenchServer): Promise<number> {
  const time = async (count: number): Promise<number> => {
    const { status, text, ms } = await sendRequest(`${server.url}/_bench/round-trips?count=${count}`)
    if (status !== 204) throw new Error(`round-trips: ${status} ${text}`)
    return ms
  }
  return ((await time(ROUND_TRIPS + 1)) - (await time(1))) / ROUND_TRIPS
}

/** From the moment that a price reaches the board until the socket has the position: times, and what it cost. */
async function measureUpdates(
  server: BenchServer,
  { rounds, cpuRounds, warmUp }: Scale,
  who: { id: string; token: string },
) {
  const socket = await openSocket(server.url, who.token)
  const sql = openDatabase('live', server.databaseUrl)
  const [asset] = await sql<{ asset_id: number; provider_id: string }[]>`
    SELECT asset_id, provider_id FROM assets WHERE type = 'stock' AND currency = 'USD' AND provider = 'yahoo' ORDER BY asset_id LIMIT 1`
  await sql.end()
  const { asset_id, provider_id } = asset as NonNullable<typeof asset>
  let changes = 0
  /** Changes the price, and gives how long it took from here until the position was on the socket. */
  const change = async (): Promise<number> => {
    const price = `${200 + ++changes}.25`
    const told = socket.next(
      ({ type, positions }) =>
        type === 'position_update' &&
        (positions?.some((each) => each.asset_id === asset_id && each.cmp === price) ?? false),
    )
    const began = performance.now()
    const { status, text } = await sendRequest(`${server.url}/_bench/price`, { asset_id, provider_id, price })
    if (status !== 204) throw new Error(`price: ${status} ${text}`)
    return (await told) - began
  }
  /** How long a change takes to get from here to the board: half of there and back. */
  const wayThere = async (): Promise<number> => {
    const touched = await sendRequest(`${server.url}/_bench/touch`, { asset_id, provider_id, price: '0' })
    if (touched.status !== 204) throw new Error(`touch: ${touched.status} ${touched.text}`)
    return touched.ms / 2
  }
  for (let round = 0; round < warmUp; round++) {
    await change()
    await wayThere()
  }
  const ms: number[] = []
  const roundTrips: number[] = []
  for (let round = 0; round < rounds; round++) {
    ms.push((await change()) - (await wayThere()))
    roundTrips.push(await roundTripMs(server))
  }
  const readsBefore = await tableReads(server)
  const cpuBefore = cpuMicroseconds(server.pid)
  for (let round = 0; round < cpuRounds; round++) await change()
  const cpu = (cpuMicroseconds(server.pid) - cpuBefore) / 1_000 / cpuRounds
  const reads = (await tableReads(server)) - readsBefore
  socket.close()
  return { ms, roundTrips, reads, cpu }
}

/**
 * The cost of a price change for a user with 10,000 lots: the time until it is on the socket, compared with one bare round
 * trip to the database; and its CPU, compared with a user who has a hundredth of the lots in as many positions.
 */
export async function portfolio(size: Size): Promise<Figures> {
  const scale = SIZES[size]
  const server = await startServer({
    entry: 'dev/worker/bench.ts',
    vars: {
      HISTORY_PER_MINUTE: '1',
      AUTH_SECRET: 'a secret of benches alone, which opens nothing',
    },
  })
  try {
    const many = await signUpUser(server, 'many')
    const few = await signUpUser(server, 'few')
    await insertLots(server, many.id, scale.lots)
    await insertLots(server, few.id, FEW_LOTS)
    const small = await measureUpdates(server, scale, few)
    const large = await measureUpdates(server, scale, many)
    const trip = median(large.roundTrips)
    return {
      ratios: {
        vs_round_trip: rounded(median(large.ms) / trip),
        cpu_vs_few_lots: rounded(large.cpu / small.cpu),
      },
      database_reads: large.reads,
      update_ms: rounded(median(large.ms)),
      update_p95_ms: rounded(quantile(large.ms, 0.95)),
      update_few_lots_ms: rounded(median(small.ms)),
      round_trip_ms: rounded(trip),
      cpu_ms: rounded(large.cpu),
      lots: scale.lots,
      positions: ASSETS,
    }
  } finally {
    closeConnections()
    await server.stop()
  }
}
