import { generator, mix } from '../exchange/random.ts'
import type { WireTrade } from '../exchange/wire.ts'
import { compare, distinct, type GapPlace, type Place, type Seen, type Verdict } from './compare.ts'
import { keyOf, LENGTHS, plain, scaled } from './fold.ts'
import { type Crowd, inject } from './inject.ts'
import type { FaultName, Plan } from './plan.ts'
import { type Lane, openStage, SPEED, type Stage } from './stage.ts'
import { openViewer, type Viewer } from './viewer.ts'

/**
 * `heal`: minutes of the market in which everything must be right again. `broken`: what the Worker does wrong on purpose.
 * `signal` breaks it off.
 */
export type RunOptions = { heal: number; broken?: 'flush' | 'backfill'; signal?: AbortSignal }

/** How a run ended. `effects`: of each fault, how often it took effect; `healed`: market ms after the faults, null: never. */
export type RunResult = {
  seed: number
  effects: Map<FaultName, number>
  verdict: Verdict
  healed: number | null
  returns: { recovered: number; snapshots: number }
  /** Real milliseconds. */
  took: number
}

const MINUTE = 60_000

/** Real milliseconds that everything may take to come up. */
const UP_MS = 20_000
/** Real milliseconds after which a run is broken off, whatever it waits for. */
const RUN_MS = 240_000
/** Real milliseconds between two looks at whether everything is right again. */
const LOOK_MS = 100

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms))

/** Runs one plan from bringing up to the last comparison. @throws Error when it could not be run to its end */
export async function runPlan(plan: Plan, lane: Lane, options: RunOptions): Promise<RunResult> {
  const stage = await openStage(plan, lane, options.broken)
  const signals = [AbortSignal.timeout(RUN_MS), ...(options.signal ? [options.signal] : [])]
  const ends: (() => void)[] = []
  try {
    return await Promise.race([play(stage, plan, options, ends), brokenOff(AbortSignal.any(signals))])
  } finally {
    for (const end of ends) end()
    await stage.stop()
  }
}

/** Rejects when the signal comes. */
const brokenOff = (signal: AbortSignal): Promise<never> =>
  new Promise((_, fail) => {
    const broke = () => fail(new Error('broken off', { cause: signal.reason }))
    if (signal.aborted) broke()
    signal.addEventListener('abort', broke)
  })

/** The run on its stage; `ends` is how to end what it has begun. */
async function play(stage: Stage, plan: Plan, options: RunOptions, ends: (() => void)[]): Promise<RunResult> {
  const began = Date.now()
  const crowd: Crowd = { viewers: [], ends }
  ends.push(startPump(stage, plan))
  const random = generator(mix(plan.seed, 0x7e))
  const viewers = plan.viewers.map((viewer, i) => openPlanned(stage, plan, viewer.product, viewer.acks, i, random))
  ends.push(...viewers.map((viewer) => viewer.close))
  const products = plan.products.map(({ id }) => id)
  const from = await allLive(stage, plan, viewers)
  const drops = plan.viewers.map(async ({ drops: times }, i) => {
    for (const at of [...times].sort((a, b) => a - b)) {
      await stage.until(at)
      viewers[i]?.drop()
    }
  })
  const effects = new Map<FaultName, number>(plan.faults.map((fault) => [fault, 0]))
  const injected = await Promise.all(
    plan.events.map(async (event) => ({ event, effective: await inject(stage, event, crowd) })),
  )
  await Promise.all(drops)
  // Where it took long to come up, the market goes on for as long as a run is to have.
  const end = Math.max(plan.end, from * 1000 - plan.start + plan.minutes * MINUTE)
  await stage.until(end)
  for (const { event, effective } of injected)
    if (effective()) effects.set(event.fault, (effects.get(event.fault) ?? 0) + 1)
  await calm(stage, plan, products)
  const to = Math.floor((plan.start + end) / MINUTE) * 60
  const look = () => lookAt(stage, plan, [...viewers, ...crowd.viewers], from, to)
  const first = await heal(stage, plan.start + end, options.heal, look)
  let { verdict, healed } = first
  if (healed !== null) {
    // What SQLite kept must be enough: every object dies, and comes back from it.
    for (const product of products) await stage.call(`${product}/die`)
    const second = await heal(stage, stage.exchange.now(), options.heal, look)
    verdict = second.verdict
    healed = second.healed === null ? null : Math.max(healed, second.healed)
  }
  const contradictions = [...viewers, ...crowd.viewers].flatMap((viewer) => viewer.contradictions)
  const stopped = viewers.find((viewer) => viewer.stopped() !== null)
  if (stopped) throw new Error(`${stopped.name} was told to stop: ${stopped.stopped()}`)
  const sum = (name: 'recovered' | 'snapshots') => viewers.reduce((all, { returns }) => all + returns[name], 0)
  return {
    seed: plan.seed,
    effects,
    verdict: { ...verdict, wrong: [...verdict.wrong, ...contradictions] },
    healed,
    returns: { recovered: sum('recovered'), snapshots: sum('snapshots') },
    took: Date.now() - began,
  }
}

/** Makes the trades of the manual product when their time comes. @returns how to end it */
function startPump({ exchange }: Stage, { start, manual }: Plan): () => void {
  let next = 0
  const make = () => {
    const due = []
    while (next < manual.trades.length && start + (manual.trades[next] as { at: number }).at <= exchange.now())
      due.push((manual.trades[next++] as { trade: (typeof manual.trades)[number]['trade'] }).trade)
    if (due.length > 0) exchange.tick(due)
  }
  make()
  const timer = setInterval(make, 1_000 / SPEED)
  return () => clearInterval(timer)
}

function openPlanned(
  { worker }: Stage,
  plan: Plan,
  product: string | null,
  acks: boolean,
  index: number,
  random: () => number,
): Viewer {
  const base = worker.url.replace('http', 'ws')
  return openViewer({
    name: `viewer ${index + 1}${product ? ` of ${product}` : ''}`,
    url: product ? `${base}/ws/products/${product}` : `${base}/ws`,
    products: product ? [product] : plan.products.map(({ id }) => id),
    granularity: null,
    acks,
    client: `10.0.0.${index + 1}`,
    random,
  })
}

/** Waits until every feed and every viewer is up. @returns the first whole minute after that, unix seconds */
async function allLive(stage: Stage, plan: Plan, viewers: readonly Viewer[]): Promise<number> {
  const until = Date.now() + UP_MS
  for (;;) {
    const states = await Promise.all(
      plan.products.map(async ({ id }) => {
        const { feed } = (await (await stage.call(`${id}/status`)).json()) as { feed: { state: string } }
        return feed.state
      }),
    )
    // At this speed a feed is called silent whenever this machine takes a breath.
    if (states.every((state) => state === 'live' || state === 'silent') && viewers.every((viewer) => viewer.ready()))
      break
    if (Date.now() > until) throw new Error(`not every feed and viewer came up: ${states.join(' ')}`)
    await sleep(20)
  }
  return (Math.floor(stage.exchange.now() / MINUTE) + 1) * 60
}

/** Ends what faults are still going on, but for a REST that refuses for good. */
async function calm(stage: Stage, plan: Plan, products: readonly string[]): Promise<void> {
  stage.exchange.clearFaults()
  if (plan.faults.includes('rest-refused')) stage.exchange.fault({ kind: 'rest', answer: '500', forMs: 1e12 })
  await stage.inTurn(async () => {
    for (const product of products) await stage.call(`${product}/spare`)
  })
}

/** Looks until nothing is lost or wrong any more, or the time is over. */
async function heal(
  stage: Stage,
  since: number,
  minutes: number,
  look: () => Promise<Verdict>,
): Promise<{ verdict: Verdict; healed: number | null }> {
  let verdict: Verdict = { compared: 0, lost: [], wrong: [] }
  let failure: unknown = null
  const over = Date.now() + (minutes * MINUTE) / SPEED
  do {
    await sleep(LOOK_MS)
    const now = stage.exchange.now()
    try {
      verdict = await look()
      failure = null
      if (verdict.compared > 0 && verdict.lost.length === 0 && verdict.wrong.length === 0)
        return { verdict, healed: now - since }
    } catch (error) {
      // Something is still coming back.
      failure = error
    }
  } while (Date.now() < over)
  if (failure !== null) throw new Error('the candles could not be read at the end', { cause: failure })
  return { verdict, healed: null }
}

type Row = {
  product_id: string
  granularity: string
  start: number
  open: string
  high: string
  low: string
  close: string
  volume: string
  is_complete: boolean
  coverage: string
  rev: number
}

function byKey(rows: Iterable<Row>): Map<string, Map<string, Seen>> {
  const places = new Map<string, Map<string, Seen>>()
  for (const row of rows) {
    const ours = places.get(row.product_id) ?? new Map<string, Seen>()
    places.set(row.product_id, ours)
    const exact = (text: string) => plain(scaled(text))
    ours.set(keyOf(row.granularity, row.start), {
      open: exact(row.open),
      high: exact(row.high),
      low: exact(row.low),
      close: exact(row.close),
      volume: exact(row.volume),
      complete: row.is_complete,
      coverage: row.coverage,
      rev: row.rev,
    })
  }
  return places
}

type Held = { candles: (Omit<Row, 'start'> & { timestamp: number })[]; gaps: [number, number][] }

/** One look at all places. */
async function lookAt(
  stage: Stage,
  plan: Plan,
  viewers: readonly Viewer[],
  from: number,
  to: number,
): Promise<Verdict> {
  const products = plan.products.map(({ id }) => id)
  const { admin } = stage.database
  const rows = await admin<Row[]>`
    SELECT product_id, granularity::text, extract(epoch FROM timestamp)::int AS start, open::text, high::text,
      low::text, close::text, volume::text, is_complete, coverage, rev
    FROM live_candles WHERE timestamp >= to_timestamp(${from})`
  const gapRows = await admin<{ product_id: string; start: number; end: number }[]>`
    SELECT product_id, extract(epoch FROM started_at)::int AS start, extract(epoch FROM ended_at)::int AS end
    FROM candle_gaps`
  const trades = new Map<string, WireTrade[]>()
  const held: Row[] = []
  const heldGaps = new Map<string, [number, number][]>()
  const taken = new Map<string, Set<number>>()
  for (const product of products) {
    const day = LENGTHS.ONE_DAY as number
    trades.set(product, stage.exchange.sent(product, (from - day / 24) * 1000, stage.exchange.now() + 1))
    const answer = (await (await stage.call(`${product}/held?start=${from}`)).json()) as Held
    for (const { timestamp, ...candle } of answer.candles) held.push({ ...candle, start: timestamp })
    heldGaps.set(product, answer.gaps)
    if (plan.faults.includes('rest-refused'))
      taken.set(product, new Set((await (await stage.call(`${product}/brought`)).json()) as number[]))
  }
  const empty = () => new Map(products.map((product) => [product, new Map<string, Seen>()]))
  const places: Place[] = [
    { name: 'object', granularity: null, candles: new Map([...empty(), ...byKey(held)]) },
    { name: 'postgres', granularity: null, candles: new Map([...empty(), ...byKey(rows)]) },
    ...viewers.map((viewer) => ({
      name: viewer.name,
      granularity: viewer.granularity,
      candles: viewer.candles(),
    })),
  ]
  const storedGaps = new Map<string, [number, number][]>()
  for (const { product_id, start, end } of gapRows)
    storedGaps.set(product_id, [...(storedGaps.get(product_id) ?? []), [start, end]])
  const gapPlaces: GapPlace[] = [
    { name: 'object', gaps: heldGaps },
    { name: 'postgres', gaps: storedGaps },
  ]
  return compare({ trades, from, to, places, gapPlaces, taken: taken.size > 0 ? taken : null })
}

/** Whether a run is as it must be. */
export const isClean = ({ verdict }: RunResult): boolean =>
  distinct(verdict.lost) === 0 && distinct(verdict.wrong) === 0
