import { countCandles } from './compare.ts'
import { type Lane, openLane } from './environment.ts'
import { FAULTS, type FaultName } from './events.ts'
import { planRun, runSeeds } from './plan.ts'
import { isClean, type RunOptions, type RunResult, runPlan } from './run.ts'

/** `minutes`: how long the faults of one run go on, market time. `lanes`: runs at once. `fault`: that one alone. */
export type SuiteOptions = RunOptions & {
  runs: number
  seed: number
  fault: FaultName | null
  minutes: number
  lanes: number
  /** Progress, a line each. */
  log: (line: string) => void
}

/** The report on each fault, from the runs that it was part of; `healed` is the longest, market ms. */
type FaultReport = {
  fault: string
  runs: number
  effects: number
  compared: number
  lost: number
  wrong: number
  late: number
  healed: number
}

/** The report of all runs; `failed` runs could not be completed. */
export type SuiteReport = {
  runs: number
  faults: number
  compared: number
  lost: number
  wrong: number
  late: number
  failed: number
  healed: number
  byFault: FaultReport[]
}

/** The most reported findings of one run. */
const MAX_FINDINGS_SHOWN = 12

const formatMinutes = (ms: number): string => `${(ms / 60_000).toFixed(1)} min`

/** Runs the suite and stops everything that it started. */
export async function runSuite(options: SuiteOptions): Promise<SuiteReport> {
  const seeds = runSeeds(options.seed, options.runs)
  const results: RunResult[] = []
  let failed = 0
  let next = 0
  const work = async (lane: Lane) => {
    while (next < seeds.length && !options.signal?.aborted) {
      const number = next++
      const plan = planRun(seeds[number] as number, options.fault, options.minutes)
      const name = `run ${number + 1}/${options.runs} seed ${plan.seed} ${plan.faults.join(' + ')}`
      try {
        const result = await runPlan(plan, lane, options)
        results.push(result)
        options.log(`${name}: ${formatResult(result)}`)
      } catch (error) {
        failed++
        options.log(`${name}: could not be run: ${(error as Error).stack} ${(error as Error).cause ?? ''}`)
      }
    }
  }
  const lanes = await Promise.all(Array.from({ length: Math.min(options.lanes, options.runs) }, openLane))
  try {
    await Promise.all(lanes.map(work))
  } finally {
    await Promise.all(lanes.map((lane) => lane.stop()))
  }
  return buildReport(results, failed)
}

function formatResult(result: RunResult): string {
  const { verdict, late, healedAfterMs, savedState, returns, durationMs, speed } = result
  const effects = [...result.effects].map(([fault, times]) => `${fault} ${times}`).join(', ')
  const head = [
    `${verdict.compared} compared`,
    `${countCandles(verdict.lost)} lost`,
    `${countCandles(verdict.wrong)} wrong`,
    `${late} late`,
    healedAfterMs === null ? 'not healed' : `healed after ${formatMinutes(healedAfterMs)}`,
    `effects: ${effects}`,
    `returns: ${returns.recovered} recovered ${returns.snapshots} snapshots`,
    `${(durationMs / 1000).toFixed(1)} s at speed ${speed}`,
  ].join(', ')
  if (isClean(verdict)) return head
  const findings = [...verdict.lost, ...verdict.wrong]
  const more = findings.length > MAX_FINDINGS_SHOWN ? [`and ${findings.length - MAX_FINDINGS_SHOWN} more`] : []
  const lines = findings
    .slice(0, MAX_FINDINGS_SHOWN)
    .map(({ place, product, key, reason }) => `${place}: ${product} ${key} ${reason}`)
  return [head, ...lines, ...more, `state: ${savedState}`].join('\n    ')
}

function buildReport(results: readonly RunResult[], failed: number): SuiteReport {
  const sum = (of: readonly RunResult[], value: (result: RunResult) => number) =>
    of.reduce((all, result) => all + value(result), 0)
  const figures = (of: readonly RunResult[]) => ({
    runs: of.length,
    compared: sum(of, ({ verdict }) => verdict.compared),
    lost: sum(of, ({ verdict }) => countCandles(verdict.lost)),
    wrong: sum(of, ({ verdict }) => countCandles(verdict.wrong)),
    late: sum(of, ({ late }) => late),
    healed: Math.max(0, ...of.map(({ healedAfterMs }) => healedAfterMs ?? 0)),
  })
  const byFault = FAULTS.map((fault) => {
    const of = results.filter(({ effects }) => effects.has(fault))
    return { fault, ...figures(of), effects: sum(of, ({ effects }) => effects.get(fault) ?? 0) }
  })
  return {
    ...figures(results),
    faults: byFault.reduce((all, { effects }) => all + effects, 0),
    failed,
    byFault: byFault.filter(({ runs }) => runs > 0),
  }
}

/** The report as a table, a line a fault. */
export function formatTable(report: SuiteReport): string[] {
  const head = ['fault', 'runs', 'effects', 'compared', 'lost', 'wrong', 'late', 'longest to heal']
  const rows = report.byFault.map((row) => [
    row.fault,
    ...[row.runs, row.effects, row.compared, row.lost, row.wrong, row.late].map(String),
    formatMinutes(row.healed),
  ])
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => (row[i] as string).length)))
  return [head, ...rows].map((row) =>
    row.map((text, i) => (i === 0 ? text.padEnd(widths[i] as number) : text.padStart(widths[i] as number))).join('  '),
  )
}

/** The last line of the suite's output. */
export const formatSummary = ({ runs, faults, compared, lost, wrong, late }: SuiteReport): string =>
  JSON.stringify({ suite: 'faults', runs, faults, compared, lost, wrong, late })
