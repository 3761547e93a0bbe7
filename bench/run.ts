import { parseArgs } from 'node:util'
import { checkFigures, type Figures, type Size } from './figures.ts'

const BENCHES: Record<string, (size: Size) => Promise<Figures>> = {
  aggregate: async (size) => (await import('./aggregate.ts')).aggregate(size),
  fanout: async (size) => (await import('./fanout.ts')).fanout(size),
  'slow-readers': async (size) => (await import('./slow-readers.ts')).slowReaders(size),
  quotes: async (size) => (await import('./quotes.ts')).quotes(size),
  'history-size': async (size) => (await import('./history-size.ts')).historySize(size),
  portfolio: async (size) => (await import('./portfolio.ts')).portfolio(size),
  latency: async (size) => (await import('./latency.ts')).latency(size),
}

const USAGE = `usage: npm run bench -- [NAME] [--quick]
  NAME is one of ${Object.keys(BENCHES).join(' ')}; all of them without it
  --quick takes seconds and shows that a bench still runs: its figures say nothing`

/** @throws Error that says what is wrong with the arguments */
function readArguments(): { name: string | null; size: Size } {
  const { values, positionals } = parseArgs({ options: { quick: { type: 'boolean' } }, allowPositionals: true })
  const [name = null, ...more] = positionals
  if (more.length > 0) throw new Error('give one name at most')
  if (name !== null && !Object.hasOwn(BENCHES, name)) throw new Error(`there is no bench ${name}`)
  return { name, size: values.quick ? 'quick' : 'full' }
}

/** Runs the benches, all of them even if one fails. @returns the exit code */
async function main(): Promise<number> {
  let given: ReturnType<typeof readArguments>
  try {
    given = readArguments()
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`)
    return 2
  }
  let failed = 0
  for (const [bench, run] of Object.entries(BENCHES)) {
    if (given.name !== null && given.name !== bench) continue
    try {
      const figures = await run(given.size)
      checkFigures(figures)
      console.log(JSON.stringify({ bench, ...figures }))
    } catch (error) {
      failed++
      console.error(`bench ${bench} failed:`, error)
    }
  }
  return failed === 0 ? 0 : 1
}

// Listeners of the process's exit end what was started.
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.on(signal, () => process.exit(code))

process.exit(await main())
