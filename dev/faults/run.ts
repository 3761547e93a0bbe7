import { generator, mix } from '../exchange/random.ts'
import { distinct, type Verdict } from './compare.ts'
import type { FaultName } from './events.ts'
import { type Healing, heal } from './heal.ts'
import { type Crowd, inject } from './inject.ts'
import { lookAt } from './look.ts'
import type { Plan } from './plan.ts'
import { untilNothingIsLeft } from './progress.ts'
import { saveState } from './save-state.ts'
import { type Lane, openStage, type Stage } from './stage.ts'
import { openViewer, type Viewer } from './viewer.ts'

/**
 * `heal`: minutes of the market in which everything must be right again. What takes longer is late as long as it gets
 * better, and is lost or wrong when it has not got better for as long. `broken`: what the Worker does wrong on purpose.
 * `signal` breaks it off.
 */
export type RunOptions = { heal: number; broken?: 'flush' | 'backfill'; signal?: AbortSignal }

/**
 * How a run ended. `effects`: of each fault, how often it took effect; `healed`: market ms after the faults, null: never;
 * `late`: candles that were not right in time but were in the end; `saved`: where the state of a run is that is not as it
 * must be.
 */
export type RunResult = {
  seed: number
  effects: Map<FaultName, number>
  verdict: Verdict
  late: number
  healed: number | null
  saved: string | null
  returns: { recovered: number; snapshots: number }
  /** Real milliseconds, and how much faster the market was. */
  took: number
  speed: number
}

const MINUTE = 60_000

/** Market milliseconds between two trades of the manual product past those of the plan. */
const PAUSE_MS = 5_000
/** Real milliseconds between two checks of what comes up, and without anything more coming up. */
const UP_PAUSE_MS = 20
const UP_STALL_MS = 20_000
/** Real milliseconds after which a run is broken off whose faults do not end. */
const FAULTS_MS = 600_000

/**
 * A run whose faults are over: candles with starts from `from` on and ends up to `to`, unix seconds, are to be right at
 * all viewers. `overAt` is when the last fault had ended, by the market's clock, unix milliseconds.
 */
type Aftermath = {
  viewers: Viewer[]
  crowd: Viewer[]
  effects: Map<FaultName, number>
  from: number
  to: number
  overAt: number
}

/** Runs one plan from bringing up to the last comparison. @throws Error when it could not be run to its end */
export async function runPlan(plan: Plan, lane: Lane, options: RunOptions): Promise<RunResult> {
  const began = Date.now()
  const stage = await openStage(plan, lane, options.broken)
  const ends: (() => void)[] = []
  const signals = options.signal ? [options.signal] : []
  const orBrokenOff = <T>(work: Promise<T>, ...more: AbortSignal[]) =>
    Promise.race([work, brokenOff(AbortSignal.any([...signals, ...more]))])
  try {
    const aftermath = await orBrokenOff(inflict(stage, plan, ends), AbortSignal.timeout(FAULTS_MS))
    const judged = await orBrokenOff(judge(stage, plan, options, aftermath)).catch(async (error: Error) => {
      if (options.signal?.aborted) throw error
      throw new Error(`${error.message}; its state: ${await savedState(stage, plan, null)}`, { cause: error })
    })
    const { viewers, effects } = aftermath
    const sum = (name: 'recovered' | 'snapshots') => viewers.reduce((all, { returns }) => all + returns[name], 0)
    const returns = { recovered: sum('recovered'), snapshots: sum('snapshots') }
    const saved = isRight(judged.verdict) ? null : await savedState(stage, plan, judged.verdict)
    return { seed: plan.seed, effects, ...judged, saved, returns, took: Date.now() - began, speed: stage.speed }
  } finally {
    for (const end of ends) end()
    await stage.stop()
  }
}

/** Where the state of a run is, or why it could not be saved: that must not hide what the run has found. */
const savedState = (stage: Stage, plan: Plan, verdict: Verdict | null): Promise<string> =>
  saveState(stage, plan, verdict).catch((error: Error) => `not saved, ${error.message}`)

/** Rejects when the signal comes. */
const brokenOff = (signal: AbortSignal): Promise<never> =>
  new Promise((_, fail) => {
    const broke = () => fail(new Error('broken off', { cause: signal.reason }))
    if (signal.aborted) broke()
    signal.addEventListener('abort', broke)
  })

/** Everything up to the end of the faults; `ends` is how to end what it has begun. */
async function inflict(stage: Stage, plan: Plan, ends: (() => void)[]): Promise<Aftermath> {
  const crowd: Crowd = { viewers: [], ends }
  ends.push(startPump(stage, plan))
  const random = generator(mix(plan.seed, 0x7e))
  const viewers = plan.viewers.map((viewer, i) => openPlanned(stage, plan, viewer.product, viewer.acks, i, random))
  ends.push(...viewers.map((viewer) => viewer.close))
  const from = await allUp(stage, plan, viewers)
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
  await calm(stage, plan)
  const to = Math.floor((plan.start + end) / MINUTE) * 60
  return { viewers, crowd: crowd.viewers, effects, from, to, overAt: stage.exchange.now() }
}

/** Compares until everything is right again, and once more after every object has died. */
async function judge(
  stage: Stage,
  plan: Plan,
  options: RunOptions,
  { viewers, crowd, from, to, overAt }: Aftermath,
): Promise<Pick<RunResult, 'verdict' | 'healed' | 'late'>> {
  const all = [...viewers, ...crowd]
  const look = () => lookAt(stage, plan, all, from, to)
  const withinMs = (options.heal * MINUTE) / stage.speed
  const again = () => heal(look, { withinMs, now: stage.exchange.now, signal: options.signal })
  const since = ({ healedAt }: Healing, start: number) => (healedAt === null ? null : healedAt - start)
  let healing = await again()
  let healed = since(healing, overAt)
  const late = new Set(healing.late)
  if (healed !== null) {
    // What SQLite kept must be enough: every object dies, and comes back from it.
    for (const { id } of plan.products) await stage.call(`${id}/die`)
    const diedAt = stage.exchange.now()
    healing = await again()
    const second = since(healing, diedAt)
    healed = second === null ? null : Math.max(healed, second)
    for (const candle of healing.late) late.add(candle)
  }
  const stopped = viewers.find((viewer) => viewer.stopped() !== null)
  if (stopped) throw new Error(`${stopped.name} was told to stop: ${stopped.stopped()}`)
  const { verdict } = healing
  const contradictions = all.flatMap((viewer) => viewer.contradictions)
  return { verdict: { ...verdict, wrong: [...verdict.wrong, ...contradictions] }, healed, late: late.size }
}

/**
 * Makes the trades of the manual product when their time comes. Past the last one its price is traded again and again: a
 * product must be heard to be healed, however long that takes.
 * @returns how to end it
 */
function startPump({ exchange, speed }: Stage, { start, manual }: Plan): () => void {
  let next = 0
  const last = manual.trades.at(-1) as (typeof manual.trades)[number]
  const tradeOf = (n: number) =>
    manual.trades[n] ?? { ...last, at: last.at + (n - manual.trades.length + 1) * PAUSE_MS }
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

/** Waits until every feed and every viewer has been up. @returns the first whole minute after that, unix seconds */
async function allUp(stage: Stage, plan: Plan, viewers: readonly Viewer[]): Promise<number> {
  // Each once, not all at the same moment: at this speed a feed is lost whenever this machine takes a breath.
  const missing = new Set<string | Viewer>([...plan.products.map(({ id }) => id), ...viewers])
  const left = async () => {
    for (const one of missing) if (await isUp(stage, one)) missing.delete(one)
    return missing.size
  }
  if (!(await untilNothingIsLeft(left, { pauseMs: UP_PAUSE_MS, stallMs: UP_STALL_MS })))
    throw new Error(`not up: ${[...missing].map((one) => (typeof one === 'string' ? one : one.name)).join(', ')}`)
  return (Math.floor(stage.exchange.now() / MINUTE) + 1) * 60
}

/** Whether a viewer has what it asked for, or the feed of a product is open. */
async function isUp(stage: Stage, one: string | Viewer): Promise<boolean> {
  if (typeof one !== 'string') return one.ready()
  const { feed } = (await (await stage.call(`${one}/status`)).json()) as { feed: { state: string } }
  return feed.state === 'live' || feed.state === 'silent'
}

/** Ends what faults are still going on, but for a REST that refuses for good. */
async function calm(stage: Stage, plan: Plan): Promise<void> {
  stage.exchange.clearFaults()
  if (plan.faults.includes('rest-refused')) stage.exchange.fault({ kind: 'rest', answer: '500', forMs: 1e12 })
  await stage.inTurn(async () => {
    for (const { id } of plan.products) await stage.call(`${id}/spare`)
  })
}

const isRight = ({ lost, wrong }: Verdict): boolean => distinct(lost) === 0 && distinct(wrong) === 0

/** Whether a run is as it must be. */
export const isClean = ({ verdict }: RunResult): boolean => isRight(verdict)
