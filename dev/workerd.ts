import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'

/** The root of the repository. */
const ROOT = new URL('..', import.meta.url).pathname

/** The path of workerd's program. */
const WORKERD = (createRequire(import.meta.url)('workerd') as { default: string }).default

/** The day whose platform this is: the same as in wrangler.toml. */
const COMPATIBILITY_DATE = '2026-11-01'

/** `entry` is a module of the repository; `vars` are text bindings; objects live as long as the process. */
export type WorkerdOptions = { entry: string; vars?: Record<string, string>; verbose?: boolean }

export type Workerd = { url: string; pid: number; stop(): Promise<void> }

/** A free port on loopback. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

const text = (value: string): string => JSON.stringify(value)

/** A configuration of workerd with the two object classes, their SQLite in `storage`, and loopback as the way out. */
function config(port: number, storage: string, vars: Record<string, string>): string {
  const bindings = Object.entries(vars).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`)
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "kerb", worker = (
      modules = [(name = "worker", esModule = embed "worker.js")],
      compatibilityDate = ${text(COMPATIBILITY_DATE)},
      durableObjectNamespaces = [
        (className = "ProductCandles", uniqueKey = "ProductCandles", enableSql = true),
        (className = "FeedSlots", uniqueKey = "FeedSlots", enableSql = true),
      ],
      durableObjectStorage = (localDisk = "storage"),
      bindings = [
        (name = "PRODUCT_CANDLES", durableObjectNamespace = "ProductCandles"),
        (name = "FEED_SLOTS", durableObjectNamespace = "FeedSlots"),
        ${bindings.join(',\n        ')}
      ],
      globalOutbound = "loopback",
    )),
    (name = "storage", disk = (path = ${text(storage)}, writable = true)),
    (name = "loopback", network = (allow = ["private", "public"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "kerb")],
);
`
}

/**
 * Bundles a Worker and serves it by plain workerd, without wrangler's proxy in front.
 * @throws when it does not come up within 20 s.
 */
export async function serveWorkerd(options: WorkerdOptions): Promise<Workerd> {
  const folder = await mkdtemp(join(tmpdir(), 'kerb-workerd-'))
  await build({
    entryPoints: [join(ROOT, options.entry)],
    outfile: join(folder, 'worker.js'),
    bundle: true,
    format: 'esm',
    target: 'es2024',
    conditions: ['workerd', 'worker', 'browser'],
    external: ['cloudflare:*', 'node:*'],
    logLevel: 'warning',
  })
  const storage = join(folder, 'storage')
  await mkdir(storage)
  const port = await freePort()
  await writeFile(join(folder, 'config.capnp'), config(port, storage, options.vars ?? {}))
  const child = spawn(WORKERD, ['serve', join(folder, 'config.capnp')], {
    stdio: ['ignore', options.verbose ? 'inherit' : 'ignore', 'inherit'],
  })
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit')
      child.kill('SIGKILL')
      await exit
    }
    await rm(folder, { recursive: true, force: true })
  }
  const url = `http://127.0.0.1:${port}`
  try {
    await answering(url, child)
  } catch (error) {
    await stop()
    throw error
  }
  return { url, pid: child.pid as number, stop }
}

async function answering(url: string, child: ChildProcess): Promise<void> {
  const until = Date.now() + 20_000
  while (Date.now() < until) {
    if (child.exitCode !== null) throw new Error(`workerd ended with ${child.exitCode}`)
    const up = await fetch(url).then(
      () => true,
      () => false,
    )
    if (up) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('workerd did not come up within 20 s')
}
