import type { Figures } from './figures.ts'

const BENCHES: Record<string, () => Promise<Figures>> = {
  aggregate: async () => (await import('./aggregate.ts')).aggregate(),
  fanout: async () => (await import('./fanout.ts')).fanout(),
  'slow-readers': async () => (await import('./slow-readers.ts')).slowReaders(),
  quotes: async () => (await import('./quotes.ts')).quotes(),
  'history-size': async () => (await import('./history-size.ts')).historySize(),
  portfolio: async () => (await import('./portfolio.ts')).portfolio(),
  latency: async () => (await import('./latency.ts')).latency(),
}

const [name, ...rest] = process.argv.slice(2)
if (rest.length > 0 || (name !== undefined && !Object.hasOwn(BENCHES, name))) {
  console.error(`bench: give one of ${Object.keys(BENCHES).join(', ')}, or nothing for all of them`)
  process.exit(2)
}
for (const [bench, run] of Object.entries(BENCHES))
  if (name === undefined || name === bench) console.log(JSON.stringify({ bench, ...(await run()) }))
