import { parseArgs } from 'node:util'
import { InputError, readRecording, readTrades } from './replay/recording.ts'

const USAGE = 'usage: npm run replay -- RECORDING.jsonl[.gz] [--trades FILE.jsonl[.gz]]'

async function main(): Promise<number> {
  let path: string | undefined
  let tradesPath: string | undefined
  try {
    const { values, positionals } = parseArgs({ allowPositionals: true, options: { trades: { type: 'string' } } })
    if (positionals.length !== 1) throw new Error('give one recording')
    path = positionals[0]
    tradesPath = values.trades
  } catch (error) {
    console.error(`replay: ${(error as Error).message}\n${USAGE}`)
    return 2
  }
  try {
    const recording = readRecording(path as string)
    const trades = tradesPath === undefined ? null : readTrades(tradesPath)
    // Not earlier: an unusable input is reported before the Worker starts.
    const { replay } = await import('./replay/drive.ts')
    const { candles, summary: told } = await replay(recording, trades)
    for (const line of told) console.error(line)
    if (candles.length > 0) process.stdout.write(`${candles.join('\n')}\n`)
    return 0
  } catch (error) {
    console.error(`replay: ${error instanceof InputError ? error.message : (error as Error).stack}`)
    return 1
  }
}

// An exit that is asked for ends workerd too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
process.exitCode = await main()
