import { mix, seededRandom } from '../../simulators/exchange/random.ts'
import { type ComparisonResult, countCandles } from './compare.ts'
import { type Lane, SPEED, startEnvironment, type TestEnvironment } from './environment.ts'
import type { FaultName } from './events.ts'
import { type Crowd, inject } from './inject.ts'
import { observe } from './observe.ts'
import type { Plan } from './plan.ts'
import { openViewer, type Viewer } from './viewer.ts'

/**
 * `heal`: minutes of the market in which everything must be right again. `broken`: what the Worker does wrong on purpose.
 * `signal` breaks it off.
 */
export type RunOptions = { healMinutes: number; broken?: 'flush' | 'backfill'; signal?: AbortSignal }

/** How a run ended. `effects`: of each fault, how often it took effect; `healed`: market ms after the faults, null: never. */
export type RunResult = {
  seed: number
  effects: Map<FaultName, number>
  verdict: ComparisonResult
  healedAfterMs: number | null
  returns: { recovered: number; snapshots: number }
  /** Real milliseconds. */
  durationMs: number
}

const MINUTE_MS = 60_000

/** Real milliseconds that everything may take to come up. */
const STARTUP_TIMEOUT_MS = 20_000
/** Real milliseconds after which a run is broken off, whatever it waits for. */
const RUN_TIMEOUT_MS = 240_000
/** Real milliseconds between two looks at whether everything is right again. */
const POLL_INTERVAL_MS = 100

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms))

/** Runs one plan from bringing up to the last comparison. @throws Error when it could not be run to its end */
export async function runPlan(plan: Plan, lane: Lane, options: RunOptions): Promise<RunResult> {
  const stage = await startEnvironment(plan, lane, options.broken)
  const signals = [AbortSignal.timeout(RUN_TIMEOUT_MS), ...(options.signal ? [options.signal] : [])]
  const ends: (() => void)[] = []
  try {
    return await Promise.race([executeRun(stage, plan, options, ends), rejectOnAbort(AbortSignal.any(signals))])
  } finally {
    for (const end of ends) end()
    await stage.stop()
  }
}

/** Rejects when the signal comes. */
const rejectOnAbort = (signal: AbortSignal): Promise<never> =>
  new Promise((_, fail) => {
    const broke = () => fail(new Error('broken off', { cause: signal.reason }))
    if (signal.aborted) broke()
    signal.addEventListener('abort', broke)
  })

/** The run on its stage; `ends` is how to end what it has begun. */
async function executeRun(
  stage: TestEnvironment,
  plan: Plan,
  options: RunOptions,
  ends: (() => void)[],
): Promise<RunResult> {
  const began = Date.now()
  const crowd: Crowd = { viewers: [], cleanups: ends }
  ends.push(startManualTrades(stage, plan))
  const random = seededRandom(mix(plan.seed, 0x7e))
  const viewers = plan.viewers.map((viewer, i) =>
    openPlannedViewer(stage, plan, viewer.product, viewer.acks, i, random),
  )
  ends.push(...viewers.map((viewer) => viewer.close))
  const products = plan.products.map(({ id }) => id)
  const from = await waitUntilLive(stage, plan, viewers)
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
  const end = Math.max(plan.end, from * 1000 - plan.start + plan.minutes * MINUTE_MS)
  await stage.until(end)
  for (const { event, effective } of injected)
    if (effective()) effects.set(event.fault, (effects.get(event.fault) ?? 0) + 1)
  await clearFaults(stage, plan, products)
  const to = Math.floor((plan.start + end) / MINUTE_MS) * 60
  const look = () => observe(stage, plan, [...viewers, ...crowd.viewers], from, to)
  const first = await waitUntilHealed(stage, plan.start + end, options.healMinutes, look)
  let { verdict, healed } = first
  if (healed !== null) {
    // What SQLite kept must be enough: every object dies, and comes back from it.
    for (const product of products) await stage.call(`${product}/die`)
    const second = await waitUntilHealed(stage, stage.exchange.now(), options.healMinutes, look)
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
    healedAfterMs: healed,
    returns: { recovered: sum('recovered'), snapshots: sum('snapshots') },
    durationMs: Date.now() - began,
  }
}

/** Makes the trades of the manual product when their time comes. @returns how to end it */
function startManualTrades({ exchange }: TestEnvironment, { start, manual }: Plan): () => void {
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

function openPlannedViewer(
  { worker }: TestEnvironment,
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
async function waitUntilLive(stage: TestEnvironment, plan: Plan, viewers: readonly Viewer[]): Promise<number> {
  const until = Date.now() + STARTUP_TIMEOUT_MS
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
  return (Math.floor(stage.exchange.now() / MINUTE_MS) + 1) * 60
}

/** Ends what faults are still going on, but for a REST that refuses for good. */
async function clearFaults(stage: TestEnvironment, plan: Plan, products: readonly string[]): Promise<void> {
  stage.exchange.clearFaults()
  if (plan.faults.includes('rest-refused')) stage.exchange.fault({ kind: 'rest', answer: '500', forMs: 1e12 })
  await stage.runExclusive(async () => {
    for (const product of products) await stage.call(`${product}/spare`)
  })
}

/** Looks until nothing is lost or wrong any more, or the time is over. */
async function waitUntilHealed(
  stage: TestEnvironment,
  since: number,
  minutes: number,
  look: () => Promise<ComparisonResult>,
): Promise<{ verdict: ComparisonResult; healed: number | null }> {
  let verdict: ComparisonResult = { compared: 0, lost: [], wrong: [] }
  let failure: unknown = null
  const over = Date.now() + (minutes * MINUTE_MS) / SPEED
  do {
    await sleep(POLL_INTERVAL_MS)
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

/** Whether a run is as it must be. */
export const isClean = ({ verdict }: RunResult): boolean =>
  countCandles(verdict.lost) === 0 && countCandles(verdict.wrong) === 0
