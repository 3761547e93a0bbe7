import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildClient } from '../../dev/build.ts'
import type { Fault } from '../../dev/exchange/faults.ts'
import type { ManualTrade } from '../../dev/exchange/server.ts'
import { startWorker } from '../../dev/wrangler.ts'
import { openGate } from './gate.ts'
import type { Stage } from './global-setup.ts'

/** The whole of Kerb, as a browser meets it: the Worker under `wrangler dev`, its exchange and its database. */
export type KerbServer = {
  /** Leads through the gate. */
  url: string
  /** Cuts every connection between browsers and Worker, and lets none in until it is opened again. */
  setOpen(open: boolean): void
  /** Trades of products that have no others; sent by the exchange at once. */
  trade(...trades: ManualTrade[]): Promise<void>
  fault(fault: Fault): Promise<void>
  clearFaults(): Promise<void>
  stop(): Promise<void>
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return port
}

/**
 * Builds the browser's code and starts a Worker on a stage of its own.
 * @param vars variables of the Worker, over those that name the stage.
 */
export async function startServer(stagesUrl: string, vars: Record<string, string>): Promise<KerbServer> {
  const stage = (await (await fetch(stagesUrl, { method: 'POST' })).json()) as Stage
  await buildClient()
  const port = await freePort()
  const state = await mkdtemp(join(tmpdir(), 'kerb-server-'))
  const said: string[] = []
  const worker = await startWorker({
    port,
    vars: {
      EXCHANGE: 'simulated',
      COINBASE_WS_URL: stage.exchangeWsUrl,
      COINBASE_REST_URL: stage.exchangeUrl,
      COINBASE_EXCHANGE_URL: stage.exchangeUrl,
      ...vars,
    },
    databaseUrl: stage.databaseUrl,
    state,
    log: (line) => said.push(line),
  })
  const gate = await openGate(port)
  const ask = async (method: string, url: string, body?: unknown) => {
    const response = await fetch(url, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
    if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${await response.text()}`)
    await response.text()
  }
  // Cron fills the list of products; `wrangler dev` fires none by itself.
  await ask('GET', `http://127.0.0.1:${port}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`)
  return {
    url: `http://127.0.0.1:${gate.port}`,
    setOpen: (open) => gate.set(open),
    trade: (...trades) => ask('POST', `${stage.exchangeUrl}/_trades`, trades),
    fault: (fault) => ask('POST', `${stage.exchangeUrl}/_faults`, fault),
    clearFaults: () => ask('DELETE', `${stage.exchangeUrl}/_faults`),
    async stop() {
      await gate.close()
      await worker.stop()
      await rm(state, { recursive: true, force: true })
    },
  }
}
