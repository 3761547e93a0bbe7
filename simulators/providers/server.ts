import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { reset } from '../reset.ts'
import { openBinance } from './binance.ts'
import { openCoinMarketCap } from './coinmarketcap.ts'
import { handleControlRequest } from './control.ts'
import { applyPoison, faultResponse, type Poison } from './fault-response.ts'
import { openProviderFaults, type ProviderFault, providerFaultSchema } from './faults.ts'
import { mapProviders, openProviderMarket, PROVIDER_NAMES, type SimulatedProviderName } from './provider-market.ts'
import type { Providers } from './providers.ts'
import { readRecorded } from './recorded.ts'
import { createRequestLog } from './requests.ts'
import type { ProviderResponse, SimulatedProvider } from './simulated-provider.ts'
import { openTwelveData } from './twelvedata.ts'
import { openYahoo } from './yahoo.ts'

export type ProvidersOptions = {
  /** 0, the default, takes any free port of 127.0.0.1. */
  port?: number
  /** The same seed gives the same prices; crypto goes with the simulated exchange of this seed. */
  seed?: string
  /** Unix milliseconds. */
  now?: () => number
  /** Ids that exist, at whichever provider; unless given, all that look like symbols but those with `NONE`, `ZZ`, `GONE` in front. */
  assets?: readonly string[]
  /** A folder of recorded answers (`yahoo`, `binance`), which go before those that are made. */
  recorded?: string
  /** Weight that Binance allows in a minute; 6,000 unless given. */
  binanceWeight?: number
  /** Requests or credits that the keyed ones allow in a minute; 8 and 30 unless given. */
  twelvedataCredits?: number
  coinmarketcapRequests?: number
}

/** Starts the simulated providers on one port of loopback, each under its own path. */
export async function startProviders(options: ProvidersOptions = {}): Promise<Providers> {
  const now = options.now ?? Date.now
  const seed = options.seed ?? 'kerb'
  const board = openProviderMarket(seed, options.assets ? new Set(options.assets) : null)
  const recorded = options.recorded === undefined ? null : readRecorded(options.recorded)
  const yahoo = openYahoo(board, seed, recorded)
  const binance = openBinance(board, recorded, options.binanceWeight)
  const all: Record<SimulatedProviderName, SimulatedProvider> = {
    yahoo: yahoo.provider,
    binance: binance.provider,
    twelvedata: openTwelveData(board, options.twelvedataCredits),
    coinmarketcap: openCoinMarketCap(board, options.coinmarketcapRequests),
  }
  const faults = openProviderFaults()
  const requests = createRequestLog()
  const late = new Set<NodeJS.Timeout>()

  const fault = (input: ProviderFault): void => {
    const parsed = providerFaultSchema.parse(input)
    if (parsed.kind !== 'crumb') faults.add(parsed, now())
    else if (parsed.cookie) yahoo.forgetCookies()
    else yahoo.expireCrumbs()
  }

  const wait = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        late.delete(timer)
        resolve()
      }, ms)
      late.add(timer)
    })

  const serve = async (name: SimulatedProviderName, request: IncomingMessage, response: ServerResponse, url: URL) => {
    const provider = all[name]
    const ids = provider.idsOf(url)
    const at = now()
    const record = requests.open(name, { at, path: url.pathname + url.search, ids })
    response.once('close', () => requests.close(name, record))
    const met = faults.takeMatching(name, url.pathname, ids, at)
    for (const one of met) if (one.kind === 'slow') await wait(one.ms)
    if (met.some(({ kind }) => kind === 'down')) return reset(request.socket)
    if (met.some(({ kind }) => kind === 'hang')) return
    const header = (key: string) => {
      const value = request.headers[key]
      return Array.isArray(value) ? value.join(', ') : value
    }
    const told =
      request.method === 'GET'
        ? met.map((one) => faultResponse(one, provider)).find((answer) => answer !== null)
        : { status: 405, body: { message: 'Method Not Allowed' } }
    const poisons = met.filter((one) => one.kind === 'poison').map((one) => one as Poison)
    const answer =
      told ??
      applyPoison(board, name, poisons, () =>
        provider.answer({ url, header, host: header('x-forwarded-host') ?? null, now: at }),
      )
    record.status = answer.status
    record.weight = answer.weight ?? 1
    respond(response, answer)
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://127.0.0.1')
    const [, first = '', ...rest] = url.pathname.split('/')
    const name = PROVIDER_NAMES.find((known) => known === first)
    let answered: Promise<unknown>
    if (name) {
      url.pathname = `/${rest.join('/')}`
      answered = serve(name, request, response, url)
    } else answered = handleControlRequest(providers, request, url).then((answer) => respond(response, answer))
    answered.catch((error: unknown) => respond(response, { status: 400, body: { message: String(error) } }))
  })
  // Closing an idle connection while a request is on its way would be a fault that no test has set.
  server.keepAliveTimeout = 0
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`

  const providers: Providers = {
    port,
    url,
    urls: mapProviders((name) => `${url}/${name}`),
    now,
    fault,
    clearFaults(provider) {
      faults.clear(provider)
      if (provider === undefined || provider === 'binance') binance.unban()
    },
    faults: faults.list,
    setPrice: board.set,
    clearPrices: board.clear,
    view: (provider, id) => board.quote(provider, id, now()),
    requests: requests.list,
    counts: requests.counts,
    clearRequests: requests.clear,
    board,
    close: () => {
      for (const pending of late) clearTimeout(pending)
      return new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
    },
  }
  return providers
}

function respond(response: ServerResponse, answer: ProviderResponse): void {
  const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body)
  response.writeHead(answer.status, { 'content-type': 'application/json;charset=utf-8', ...answer.headers })
  response.end(text)
}
