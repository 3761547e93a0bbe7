import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { FAULTS, type FaultName } from './events.ts'
import { formatSummary, formatTable, runSuite } from './suite.ts'

const USAGE = `usage: npm run test:faults -- [--runs N] [--seed S] [--fault NAME]
  NAME is one of ${FAULTS.join(' ')}`

/**
 * Minutes of the market: how long faults go on in one run, and in which everything must be right again after them; what
 * takes longer is reported as late.
 */
const FAULT_MINUTES = 20
const HEAL_MINUTES = 40

/** Concurrent runs: each mostly waits for its clock. */
const LANES = 2

const DEFAULT_RUNS = 20

type Arguments = { runs: number; seed: number; fault: FaultName | null }

/** @throws Error that says what is wrong with the arguments */
function parseArguments(): Arguments {
  const { values } = parseArgs({
    options: { runs: { type: 'string' }, seed: { type: 'string' }, fault: { type: 'string' } },
  })
  const whole = (name: 'runs' | 'seed', fallback: number, least: number, most: number): number => {
    const text = values[name]
    if (text === undefined) return fallback
    const number = Number(text)
    if (!/^\d+$/.test(text) || number < least || number > most)
      throw new Error(`--${name} is a whole number from ${least} to ${most}`)
    return number
  }
  const fault = FAULTS.find((name) => name === values.fault)
  if (values.fault !== undefined && fault === undefined) throw new Error(`there is no fault ${values.fault}`)
  return {
    runs: whole('runs', DEFAULT_RUNS, 1, 100_000),
    seed: whole('seed', randomInt(4_294_967_296), 0, 4_294_967_295),
    fault: fault ?? null,
  }
}

async function main(signal: AbortSignal): Promise<number> {
  let given: Arguments
  try {
    given = parseArguments()
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`)
    return 2
  }
  const began = Date.now()
  console.error(`seed ${given.seed}`)
  const log = (line: string) => console.error(line)
  const report = await runSuite({
    ...given,
    minutes: FAULT_MINUTES,
    healMinutes: HEAL_MINUTES,
    lanes: LANES,
    log,
    signal,
  })
  for (const line of formatTable(report)) console.log(line)
  if (report.failed > 0) console.log(`${report.failed} runs could not be run to their end`)
  console.log(`took ${((Date.now() - began) / 1000).toFixed(0)} s`)
  console.log(formatSummary(report))
  if (signal.aborted) return 130
  return report.lost + report.wrong + report.failed === 0 ? 0 : 1
}

// A signal stops everything that was started before the process exits.
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)))

main(interrupted.signal).then(
  (code) => process.exit(code),
  (error: Error) => {
    console.error(error.stack)
    process.exit(1)
  },
)
