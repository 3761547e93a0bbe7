import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, rmSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { unstable_readConfig } from 'wrangler'
import { ROOT } from './variables.ts'

/** The path of workerd's program. */
const WORKERD = (createRequire(import.meta.url)('workerd') as { default: string }).default

/**
 * `entry` is a module of the repository, `code` what was bundled of one. `vars` are text bindings; `databaseUrl` is what
 * both Hyperdrive bindings lead to; `objects` are the classes that the entry exports, by default all those of
 * wrangler.toml. `log` selects what is printed; `file` writes all output to `worker.log` in the folder instead.
 */
export type WorkerdOptions = ({ entry: string } | { code: string }) & {
  vars?: Record<string, string>
  databaseUrl?: string
  objects?: readonly string[]
  log?: 'all' | 'errors' | 'nothing' | 'file'
}

export type Workerd = {
  url: string
  pid: number
  /** Contains the Worker's code and configuration, the objects' SQLite in `storage`, and its log. */
  folder: string
  /**
   * Ends the process with a signal, at once unless it goes within `patience` milliseconds, and starts it again at the
   * same address on the objects that it left.
   */
  restart(signal: 'SIGKILL' | 'SIGTERM', patience?: number): Promise<void>
  /** Ends the process; its objects go too. */
  stop(): Promise<void>
}

/** A free port on loopback. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

const quoted = (value: string): string => JSON.stringify(value)

/** The used parts of wrangler.toml; wrangler's own types of them are lost in its bundle. */
type WranglerConfig = {
  compatibility_date: string
  compatibility_flags: string[]
  durable_objects: { bindings: { name: string; class_name: string }[] }
  hyperdrive: { binding: string }[]
  ratelimits: { name: string }[]
  queues: {
    producers: { binding: string; queue: string }[]
    consumers: { queue: string; max_retries: number; dead_letter_queue?: string }[]
  }
  assets: { binding: string }
}

/** Plain workerd has no files. */
const EMPTY_ASSETS_CODE = `export default { fetch: () => new Response(null, { status: 404 }) }
`
/** Nor limits per client. On the platform they are a part of the runtime: a service would cost more than most answers. */
const UNLIMITED_CODE = `class Limit { async limit() { return { success: true } } }
export default () => new Limit()
`

/**
 * A queue: it brings what it is given to the Worker at once, what was not taken again a second later, and in the end to
 * the queue of the dead. It forgets all when the process ends.
 */
const queueCode = (consumers: WranglerConfig['queues']['consumers']): string => `
const CONSUMERS = ${JSON.stringify(consumers)}
const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))
async function bodiesOf(request) {
  if (!request.url.endsWith('/batch')) return [await request.json()]
  const { messages } = await request.json()
  return messages.map(({ body }) => JSON.parse(new TextDecoder().decode(bytesOf(body))))
}
async function deliver(worker, queue, messages) {
  const consumer = CONSUMERS.find((each) => each.queue === queue)
  if (!consumer || messages.length === 0) return
  let left = messages
  for (let attempts = 1; attempts <= consumer.max_retries + 1 && left.length > 0; attempts++) {
    if (attempts > 1) await scheduler.wait(1000)
    const now = left.map((message) => ({ ...message, attempts }))
    const told = await worker.queue(queue, now).catch(() => ({ outcome: 'exception' }))
    const again = new Set((told.retryMessages ?? []).map(({ msgId }) => msgId))
    if (told.outcome === 'ok' && !told.retryBatch?.retry) left = left.filter(({ id }) => again.has(id))
  }
  await deliver(worker, consumer.dead_letter_queue, left)
}
export default {
  async fetch(request, { KERB, QUEUE }, context) {
    const timestamp = new Date()
    const messages = (await bodiesOf(request)).map((body) => ({ id: crypto.randomUUID(), timestamp, body }))
    context.waitUntil(deliver(KERB, QUEUE, messages))
    return Response.json({ metadata: { metrics: { backlogCount: 0, backlogBytes: 0, oldestMessageTimestamp: 0 } } })
  },
}
`

const readWranglerConfig = (): WranglerConfig =>
  unstable_readConfig({ config: join(ROOT, 'wrangler.toml') }, { hideWarnings: true })

/**
 * workerd's own configuration: the platform and the bindings of wrangler.toml, the objects' SQLite in `storage`,
 * limits per client that never limit, a queue that brings at once.
 */
function workerdConfig(port: number, storage: string, { vars = {}, databaseUrl, objects }: WorkerdOptions): string {
  const known = readWranglerConfig()
  const platform = `compatibilityDate = ${quoted(known.compatibility_date)},
      compatibilityFlags = [${known.compatibility_flags.map(quoted).join(', ')}]`
  const classes = known.durable_objects.bindings.filter(({ class_name }) => objects?.includes(class_name) ?? true)
  const database = databaseUrl === undefined ? [] : known.hyperdrive.map(({ binding }) => binding)
  const bindings = [
    ...Object.entries(vars).map(([name, value]) => `(name = ${quoted(name)}, text = ${quoted(value)})`),
    ...classes.map(
      ({ name, class_name }) => `(name = ${quoted(name)}, durableObjectNamespace = ${quoted(class_name)})`,
    ),
    ...known.ratelimits.map(
      ({ name }) => `(name = ${quoted(name)}, wrapped = (moduleName = "no-limit", innerBindings = []))`,
    ),
    `(name = ${quoted(known.assets.binding)}, service = "no-files")`,
    ...known.queues.producers.map(({ binding, queue }) => `(name = ${quoted(binding)}, queue = ${quoted(queue)})`),
    ...database.map((name) => hyperdriveBinding(name, new URL(databaseUrl as string))),
  ]
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "kerb", worker = (
      modules = [(name = "worker", esModule = embed "worker.js")],
      ${platform},
      durableObjectNamespaces = [
        ${classes.map(({ class_name }) => `(className = ${quoted(class_name)}, uniqueKey = ${quoted(class_name)}, enableSql = true)`).join(',\n        ')},
      ],
      durableObjectStorage = (localDisk = "storage"),
      bindings = [
        ${bindings.join(',\n        ')}
      ],
      globalOutbound = "loopback",
    )),
    (name = "no-files", worker = (modules = [(name = "worker", esModule = embed "no-files.js")], ${platform})),
    ${known.queues.producers.map(({ queue }) => queueService(queue, platform)).join('\n    ')}
    (name = "storage", disk = (path = ${quoted(storage)}, writable = true)),
    (name = "loopback", network = (allow = ["private", "public"])),
    ${databaseUrl === undefined ? '' : `(name = "postgres", external = (address = ${quoted(new URL(databaseUrl).host)}, tcp = ())),`}
  ],
  extensions = [(modules = [(name = "no-limit", esModule = embed "no-limit.js", internal = true)])],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "kerb")],
);
`
}

/** Only with that flag, an experimental one, may a service call somebody's queue handler. */
const queueService = (queue: string, platform: string): string =>
  `(name = ${quoted(queue)}, worker = (modules = [(name = "worker", esModule = embed "queue.js")],
      ${platform.replace(']', ', "service_binding_extra_handlers"]')},
      bindings = [(name = "KERB", service = "kerb"), (name = "QUEUE", text = ${quoted(queue)})])),`

const hyperdriveBinding = (name: string, { pathname, username, password }: URL): string =>
  `(name = ${quoted(name)}, hyperdrive = (designator = "postgres", database = ${quoted(pathname.slice(1))},
          user = ${quoted(username)}, password = ${quoted(password)}, scheme = "postgresql"))`

/** One module of everything that the Worker `entry`, a module of the repository, is made of. */
export async function bundleWorker(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, entry)],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2024',
    conditions: ['workerd', 'worker', 'browser'],
    external: ['cloudflare:*', 'node:*'],
    logLevel: 'warning',
  })
  return outputFiles[0]!.text
}

/**
 * Bundles a Worker, unless it is so already, and serves it by plain workerd, without wrangler's proxy in front.
 * @throws when it does not come up within 20 s.
 */
export async function serveWorkerd(options: WorkerdOptions): Promise<Workerd> {
  const folder = await mkdtemp(join(tmpdir(), 'kerb-workerd-'))
  await writeFile(join(folder, 'worker.js'), 'code' in options ? options.code : await bundleWorker(options.entry))
  await writeFile(join(folder, 'no-files.js'), EMPTY_ASSETS_CODE)
  await writeFile(join(folder, 'no-limit.js'), UNLIMITED_CODE)
  await writeFile(join(folder, 'queue.js'), queueCode(readWranglerConfig().queues.consumers))
  const storage = join(folder, 'storage')
  await mkdir(storage)
  const port = await freePort()
  await writeFile(join(folder, 'config.capnp'), workerdConfig(port, storage, options))
  const url = `http://127.0.0.1:${port}`
  let child: ChildProcess
  const killAtExit = () => child.kill('SIGKILL')
  const start = async (): Promise<void> => {
    const { log = 'errors' } = options
    const file = log === 'file' ? openSync(join(folder, 'worker.log'), 'a') : null
    child = spawn(WORKERD, ['serve', '--experimental', join(folder, 'config.capnp')], {
      stdio: [
        'ignore',
        file ?? (log === 'all' ? 'inherit' : 'ignore'),
        file ?? (log === 'nothing' ? 'ignore' : 'inherit'),
      ],
    })
    if (file !== null) closeSync(file)
    await waitUntilUp(url, child)
  }
  const end = async (signal: NodeJS.Signals, patience: number): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill(signal)
    const timer = setTimeout(killAtExit, patience)
    await exit
    clearTimeout(timer)
  }
  const stop = async (): Promise<void> => {
    process.off('exit', removeAtExit)
    await end('SIGKILL', 0)
    await rm(folder, { recursive: true, force: true })
  }
  const removeAtExit = () => {
    killAtExit()
    rmSync(folder, { recursive: true, force: true })
  }
  process.on('exit', removeAtExit)
  try {
    await start()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    url,
    folder,
    get pid() {
      return child.pid as number
    },
    async restart(signal, patience = 0) {
      await end(signal, patience)
      await start()
    },
    stop,
  }
}

async function waitUntilUp(url: string, child: ChildProcess): Promise<void> {
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
