import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { PLANTS, type Plant } from './environment.ts'
import { formatSummary, formatTable, runSuite } from './suite.ts'

const USAGE = `usage: npm run test:privacy -- [--requests N] [--seed S] [--plant NAME]
  NAME is one of ${PLANTS.join(' ')}: that is broken on purpose, to see that it is found`

const DEFAULT_REQUESTS = 10_000

/** The timeout of the whole suite. */
const SUITE_TIMEOUT_MS = 780_000

type Arguments = { requests: number; seed: number; plant: Plant | null }

/** @throws Error that says what is wrong with the arguments */
function parseArguments(): Arguments {
  const { values } = parseArgs({
    options: { requests: { type: 'string' }, seed: { type: 'string' }, plant: { type: 'string' } },
  })
  const whole = (name: string, text: string | undefined, fallback: number, most: number): number => {
    if (text === undefined) return fallback
    const number = Number(text)
    if (!/^\d+$/.test(text) || number > most) throw new Error(`${name} is a whole number up to ${most}`)
    return number
  }
  const plant = PLANTS.find((name) => name === values.plant)
  if (values.plant !== undefined && plant === undefined) throw new Error(`there is no plant ${values.plant}`)
  return {
    requests: whole('--requests', values.requests, DEFAULT_REQUESTS, 1_000_000),
    seed: whole('--seed', values.seed ?? (process.env.SEED || undefined), randomInt(4_294_967_296), 4_294_967_295),
    plant: plant ?? null,
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
  const report = await runSuite({ ...given, log: (line) => console.error(line), signal })
  for (const line of formatTable(report)) console.log(line)
  for (const { where, to, of, canary, around } of report.leaks)
    console.log(`LEAK to ${to ?? 'nobody'} of ${of}: ${canary}\n  ${where}\n  … ${around.replaceAll('\n', ' ')}`)
  for (const line of report.faults) console.log(`FAULT ${line}`)
  const megabytes = (report.bytes / 1e6).toFixed(0)
  console.log(
    `${report.canaries} canaries, ${megabytes} MB searched, took ${((Date.now() - began) / 1_000).toFixed(0)} s`,
  )
  console.log(formatSummary(report, given.seed))
  if (signal.aborted) return 130
  return report.found + report.wrong === 0 ? 0 : 1
}

// A signal stops everything that was started before the process exits.
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)))
setTimeout(() => {
  console.error(`not done within ${SUITE_TIMEOUT_MS / 1_000} s`)
  process.exit(1)
}, SUITE_TIMEOUT_MS).unref()

main(interrupted.signal).then(
  (code) => process.exit(code),
  (error: Error) => {
    console.error(error.stack)
    process.exit(1)
  },
)
