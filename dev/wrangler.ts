import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { stripVTControlCharacters } from 'node:util'
import { ROOT } from './variables.ts'

/** How long the Worker may take to come up, and to go before it is killed. */
const START_TIMEOUT_MS = 90_000
const STOP_TIMEOUT_MS = 5_000

/** Ends wrangler's whole group when the channel to us breaks: we may be killed before we can end it. */
const END_WITH_PARENT = `data:text/javascript,${encodeURIComponent(
  "process.on('disconnect', () => process.kill(-process.pid, 'SIGKILL'))",
)}`

export type WorkerOptions = {
  port: number
  /** The module to run, a path from the repository's root; that of wrangler.toml unless given. */
  entry?: string
  /** Variables of the Worker; they go over those of `.dev.vars`. */
  vars: Record<string, string>
  /** Files of variables that no command line may hold, instead of `.dev.vars`; of one that is named twice the last. */
  files?: readonly string[]
  databaseUrl: string
  /** Holds the objects' storage. */
  state: string
  /** Lines of the Worker and of wrangler, once it is up. */
  log: (line: string) => void
}

export type RunningWorker = {
  /** Resolves when the process has ended, for any reason. */
  exited: Promise<unknown>
  stop(): Promise<void>
}

/** wrangler's first error and the lines below it, as one line. */
function firstError(said: readonly string[]): string {
  const first = said.findIndex((line) => line.includes('[ERROR]'))
  const lines = first === -1 ? said.slice(-3) : said.slice(first, first + 3)
  return lines.join(' ').replaceAll(/✘ \[ERROR\] |\s+(?=\s)/g, '')
}

function killGroup(child: ChildProcess): void {
  try {
    // wrangler, its esbuild and its workerd: a group of their own.
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/**
 * Runs the Worker under `wrangler dev` on loopback, which loads it anew whenever a file changes. Resolves when it
 * answers.
 * @throws Error in one line when it cannot be built or does not come up; nothing is left running then.
 */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { port, entry, state, log } = options
  const cli = join(createRequire(import.meta.url).resolve('wrangler/package.json'), '../wrangler-dist/cli.js')
  const script = entry === undefined ? [] : [entry]
  const args = ['--local', '--ip=127.0.0.1', `--port=${port}`, '--inspector-port=0', '--test-scheduled']
  const vars = Object.entries(options.vars).flatMap(([name, value]) => ['--var', `${name}:${value}`])
  const files = (options.files ?? []).map((file) => `--env-file=${file}`)
  const child = spawn(
    process.execPath,
    [
      '--no-warnings',
      '--import',
      END_WITH_PARENT,
      cli,
      'dev',
      ...script,
      ...args,
      '--log-level=log',
      `--persist-to=${state}`,
      ...files,
      ...vars,
    ],
    {
      cwd: ROOT,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: {
        ...process.env,
        CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE: options.databaseUrl,
        CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE_CACHED: options.databaseUrl,
        // Nothing is sent or asked, and nothing is written outside of the state folder.
        WRANGLER_SEND_METRICS: 'false',
        WRANGLER_SEND_ERROR_REPORTS: 'false',
        WRANGLER_HIDE_BANNER: 'true',
        CLOUDFLARE_CF_FETCH_ENABLED: 'false',
        WRANGLER_LOG_PATH: join(state, 'logs'),
        WRANGLER_REGISTRY_PATH: join(state, 'registry'),
        NO_COLOR: '1',
        FORCE_COLOR: '0',
      },
    },
  )
  const killAtExit = () => killGroup(child)
  process.on('exit', killAtExit)
  const exited = once(child, 'exit').then(() => {
    killGroup(child)
    process.off('exit', killAtExit)
  })
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    const timer = setTimeout(() => killGroup(child), STOP_TIMEOUT_MS)
    await exited
    clearTimeout(timer)
  }

  const { promise: failed, reject: fail } = Promise.withResolvers<never>()
  const said: string[] = []
  let up = false
  const hear = (coloured: string) => {
    const line = stripVTControlCharacters(coloured)
    // Its own log of requests says less than the Worker's, and the place of its log file does not matter.
    if (line.trim() === '' || line.startsWith('[wrangler:info]') || line.startsWith('🪵')) return
    if (up) return log(line)
    said.push(line)
    // It would wait for the next change of a file; the lines below this one are on their way.
    if (line.includes('[ERROR]')) setTimeout(() => fail(new Error(firstError(said))), 200)
  }
  for (const stream of [child.stdout, child.stderr]) createInterface(stream!).on('line', hear)
  const timer = setTimeout(
    () => fail(new Error(`it did not come up within ${START_TIMEOUT_MS / 1000} s: ${firstError(said)}`)),
    START_TIMEOUT_MS,
  )
  child.once('close', () => fail(new Error(`wrangler ended: ${firstError(said)}`)))
  child.once('error', fail)
  const ready = new Promise<void>((done) => {
    child.on('message', (message) => {
      if (String(message).includes('DEV_SERVER_READY')) done()
    })
  })
  try {
    await Promise.race([ready, failed])
  } catch (error) {
    await stop()
    throw error
  } finally {
    clearTimeout(timer)
  }
  up = true
  failed.catch(() => {})
  return { exited, stop }
}
