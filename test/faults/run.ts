import { mix, seededRandom } from '../../simulators/exchange/random.ts'
import type { ComparisonResult } from './compare.ts'
import { type Lane, startEnvironment, type TestEnvironment } from './environment.ts'
import type { FaultName } from './events.ts'
import { type Healing, waitForHealing } from './heal.ts'
import { type Crowd, inject } from './inject.ts'
import { observe } from './observe.ts'
import type { Plan } from './plan.ts'
import { waitWhileProgressing } from './progress.ts'
import { saveState } from './save-state.ts'
import { openViewer, type Viewer } from './viewer.ts'

/**
 * `healMinutes`: market minutes within which everything must be right again. Candles that take longer are late. A run
 * that makes no progress for as many minutes is given up, and what is still missing or different then is lost or wrong.
 * `broken`: what the Worker does wrong on purpose. `signal` aborts the run.
 */
export type RunOptions = { healMinutes: number; broken?: 'flush' | 'backfill'; signal?: AbortSignal }

/**
 * How a run ended. `effects`: how often each fault took effect. `late`: candles that became right after `healMinutes`.
 * `healedAfterMs`: market time from the end of the faults until everything was right, null: never. `savedState`: the
 * folder with the state of a run that did not heal. `speed`: market milliseconds per millisecond.
 */
export type RunResult = {
  seed: number
  effects: Map<FaultName, number>
  verdict: ComparisonResult
  late: number
  healedAfterMs: number | null
  savedState: string | null
  returns: { recovered: number; snapshots: number }
  /** Real milliseconds. */
  durationMs: number
  speed: number
}

const MINUTE_MS = 60_000

/** Market milliseconds between two trades of the manual product after the last trade of the plan. */
const EXTRA_TRADE_INTERVAL_MS = 5_000
/** Real milliseconds between two checks of the start, and without progress of it before the run is given up. */
const STARTUP_POLL_INTERVAL_MS = 20
const STARTUP_STALL_TIMEOUT_MS = 20_000
/** Real milliseconds after which a run whose faults do not end is aborted. */
const FAULTS_TIMEOUT_MS = 600_000

/**
 * A run after its faults. The candles of [from, to) (unix seconds) are compared at every viewer. `faultsEndedAt` is unix
 * milliseconds of the market's clock.
 */
type RunAfterFaults = {
  viewers: Viewer[]
  crowd: Viewer[]
  effects: Map<FaultName, number>
  from: number
  to: number
  faultsEndedAt: number
}

/** Runs one plan from the start of its servers to the last comparison. @throws Error when it could not be completed */
export async function runPlan(plan: Plan, lane: Lane, options: RunOptions): Promise<RunResult> {
  const began = Date.now()
  const stage = await startEnvironment(plan, lane, options.broken)
  const ends: (() => void)[] = []
  const signals = options.signal ? [options.signal] : []
  const orAbort = <T>(work: Promise<T>, ...more: AbortSignal[]) =>
    Promise.race([work, rejectOnAbort(AbortSignal.any([...signals, ...more]))])
  try {
    const run = await orAbort(runFaults(stage, plan, ends), AbortSignal.timeout(FAULTS_TIMEOUT_MS))
    const healing = await orAbort(waitUntilHealed(stage, plan, options, run))
    const { viewers, effects } = run
    const sum = (name: 'recovered' | 'snapshots') => viewers.reduce((all, { returns }) => all + returns[name], 0)
    return {
      seed: plan.seed,
      effects,
      ...healing,
      savedState: isClean(healing.verdict) ? null : await trySaveState(stage, plan, healing.verdict),
      returns: { recovered: sum('recovered'), snapshots: sum('snapshots') },
      durationMs: Date.now() - began,
      speed: stage.speed,
    }
  } catch (error) {
    if (options.signal?.aborted) throw error
    const state = await trySaveState(stage, plan, null)
    throw new Error(`${(error as Error).message}; state: ${state}`, { cause: error })
  } finally {
    for (const end of ends) end()
    await stage.stop()
  }
}

/** The folder with the run's state, or why it could not be saved: a full disk must not hide the findings. */
const trySaveState = (stage: TestEnvironment, plan: Plan, verdict: ComparisonResult | null): Promise<string> =>
  saveState(stage, plan, verdict).catch((error: Error) => `not saved, ${error.message}`)

/** Rejects when the signal comes. */
const rejectOnAbort = (signal: AbortSignal): Promise<never> =>
  new Promise((_, fail) => {
    const broke = () => fail(new Error('broken off', { cause: signal.reason }))
    if (signal.aborted) broke()
    signal.addEventListener('abort', broke)
  })

/** Starts the viewers and injects every fault. Adds what must be stopped in the end to `ends`. */
async function runFaults(stage: TestEnvironment, plan: Plan, ends: (() => void)[]): Promise<RunAfterFaults> {
  const crowd: Crowd = { viewers: [], cleanups: ends }
  ends.push(startManualTrades(stage, plan))
  const random = seededRandom(mix(plan.seed, 0x7e))
  const viewers = plan.viewers.map((viewer, i) =>
    openPlannedViewer(stage, plan, viewer.product, viewer.acks, i, random),
  )
  ends.push(...viewers.map((viewer) => viewer.close))
  const from = await waitUntilUp(stage, plan, viewers)
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
  // A slow start does not shorten the run.
  const end = Math.max(plan.end, from * 1000 - plan.start + plan.minutes * MINUTE_MS)
  await stage.until(end)
  for (const { event, effective } of injected)
    if (effective()) effects.set(event.fault, (effects.get(event.fault) ?? 0) + 1)
  await clearFaults(stage, plan)
  const to = Math.floor((plan.start + end) / MINUTE_MS) * 60
  return { viewers, crowd: crowd.viewers, effects, from, to, faultsEndedAt: stage.exchange.now() }
}

/** Compares until everything is right, then kills every object and compares again. */
async function waitUntilHealed(
  stage: TestEnvironment,
  plan: Plan,
  options: RunOptions,
  { viewers, crowd, from, to, faultsEndedAt }: RunAfterFaults,
): Promise<Pick<RunResult, 'verdict' | 'healedAfterMs' | 'late'>> {
  const all = [...viewers, ...crowd]
  const heal = () =>
    waitForHealing(() => observe(stage, plan, all, from, to), {
      withinMs: (options.healMinutes * MINUTE_MS) / stage.speed,
      now: stage.exchange.now,
      signal: options.signal,
    })
  const since = ({ healedAt }: Healing, start: number) => (healedAt === null ? null : healedAt - start)
  let healing = await heal()
  let healedAfterMs = since(healing, faultsEndedAt)
  const late = new Set(healing.late)
  if (healedAfterMs !== null) {
    // Every object must be able to continue from its SQLite alone.
    for (const { id } of plan.products) await stage.call(`${id}/die`)
    const diedAt = stage.exchange.now()
    healing = await heal()
    const second = since(healing, diedAt)
    healedAfterMs = second === null ? null : Math.max(healedAfterMs, second)
    for (const candle of healing.late) late.add(candle)
  }
  const stopped = viewers.find((viewer) => viewer.stopped() !== null)
  if (stopped) throw new Error(`the server stopped ${stopped.name} for good: ${stopped.stopped()}`)
  const { verdict } = healing
  const contradictions = all.flatMap((viewer) => viewer.contradictions)
  return { verdict: { ...verdict, wrong: [...verdict.wrong, ...contradictions] }, healedAfterMs, late: late.size }
}

/**
 * Makes the trades of the manual product at their times, and repeats the last one afterwards: a gap heals only once the
 * next trade arrives, and a run may take longer than its plan.
 * @returns stops it
 */
function startManualTrades({ exchange, speed }: TestEnvironment, { start, manual }: Plan): () => void {
  let next = 0
  const last = manual.trades.at(-1) as (typeof manual.trades)[number]
  const tradeOf = (n: number) =>
    manual.trades[n] ?? { ...last, at: last.at + (n - manual.trades.length + 1) * EXTRA_TRADE_INTERVAL_MS }
  const make = () => {
    const due = []
    for (; start + tradeOf(next).at <= exchange.now(); next++) {
      const { at, trade } = tradeOf(next)
      due.push({ ...trade, time: start + at })
    }
    if (due.length > 0) exchange.tick(due)
  }
  make()
  const timer = setInterval(make, 1_000 / speed)
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

/** Waits until every feed and every viewer has been up once. @returns the first whole minute after that, unix seconds */
async function waitUntilUp(stage: TestEnvironment, plan: Plan, viewers: readonly Viewer[]): Promise<number> {
  // Not all at the same moment: at this speed a feed drops out whenever the machine is busy for some milliseconds.
  const missing = new Set<string | Viewer>([...plan.products.map(({ id }) => id), ...viewers])
  const left = async () => {
    for (const one of missing) if (await isUp(stage, one)) missing.delete(one)
    return missing.size
  }
  const isComplete = await waitWhileProgressing(left, {
    pauseMs: STARTUP_POLL_INTERVAL_MS,
    stallMs: STARTUP_STALL_TIMEOUT_MS,
  })
  if (!isComplete)
    throw new Error(`not up: ${[...missing].map((one) => (typeof one === 'string' ? one : one.name)).join(', ')}`)
  return (Math.floor(stage.exchange.now() / MINUTE_MS) + 1) * 60
}

/** True when the viewer has its snapshot, or the product has its feed. */
async function isUp(stage: TestEnvironment, one: string | Viewer): Promise<boolean> {
  if (typeof one !== 'string') return one.ready()
  const { feed } = (await (await stage.call(`${one}/status`)).json()) as { feed: { state: string } }
  return feed.state === 'live' || feed.state === 'silent'
}

/** Ends what faults are still going on, but for a REST that refuses for good. */
async function clearFaults(stage: TestEnvironment, plan: Plan): Promise<void> {
  stage.exchange.clearFaults()
  if (plan.faults.includes('rest-refused')) stage.exchange.fault({ kind: 'rest', answer: '500', forMs: 1e12 })
  await stage.runExclusive(async () => {
    for (const { id } of plan.products) await stage.call(`${id}/spare`)
  })
}

/** True when no candle is lost or wrong. */
export const isClean = ({ lost, wrong }: ComparisonResult): boolean => lost.length === 0 && wrong.length === 0
