import type { IncomingMessage } from 'node:http'
import type { Exchange, ManualTrade } from './exchange.ts'
import type { Fault } from './faults.ts'
import type { RestResponse } from './rest.ts'

const ok = (body: unknown): RestResponse => ({ status: 200, body })

/**
 * The paths under `/_`, for tests in another process: faults and trades to set, and the market's true trades. Faults and trades
 * are posted one or several at a time; times are unix milliseconds of the market's clock. Bad input throws.
 */
export async function handleControlRequest(
  exchange: Exchange,
  request: IncomingMessage,
  url: URL,
): Promise<RestResponse> {
  switch (`${request.method} ${url.pathname}`) {
    case 'POST /_faults':
      for (const item of await readItems(request)) exchange.fault(item as Fault)
      return ok(exchange.faults())
    case 'DELETE /_faults':
      exchange.clearFaults()
      return ok(exchange.faults())
    case 'GET /_faults':
      return ok(exchange.faults())
    case 'POST /_trades':
      return ok({ trades: exchange.tick((await readItems(request)) as ManualTrade[]) })
    case 'GET /_sent': {
      const to = Number(url.searchParams.get('to') ?? exchange.now() + 1)
      const from = Number(url.searchParams.get('from') ?? to - 3_600_000)
      if (Number.isNaN(from) || Number.isNaN(to)) throw new RangeError('from and to are unix milliseconds')
      return ok({ trades: exchange.sent(url.searchParams.get('product') ?? '', from, to) })
    }
    case 'GET /_subscriptions':
      return ok({ subscriptions: exchange.subscriptions, connections: exchange.connections() })
    case 'GET /_requests':
      return ok({ requests: exchange.requests })
    case 'GET /_clock':
      return ok({ now: exchange.now(), speed: exchange.speed, anchor: exchange.anchor })
    default:
      return { status: 404, body: { message: 'no such control path' } }
  }
}

async function readItems(request: IncomingMessage): Promise<unknown[]> {
  let text = ''
  for await (const chunk of request) text += chunk
  const body: unknown = JSON.parse(text)
  return Array.isArray(body) ? body : [body]
}
