import { toStreamSocket } from '../../delivery/client-connection.ts'
import { log } from '../../log.ts'
import { productCandles, quoteBoard, userPortfolio } from '../../objects.ts'
import { CodedError, ERROR_CODES, type ErrorCode } from '../../protocol/errors.ts'
import type { SocketUser } from '../accounts/socket-user.ts'
import { parseBoardKey } from '../quotes/quote-route.ts'
import { PORTFOLIO_KEY } from './channels.ts'
import type { MultiplexerDeps } from './multiplexer.ts'

/** The client for whom a socket to an object is opened. */
export type SocketClient = {
  /** Its address, for the limit of sockets per client. */
  client: string
  /** True: it does not count as a viewer. */
  passive: boolean
  /** The signed-in user; null for an anonymous client. */
  user: SocketUser | null
}

/** The object with this key, and the headers that describe the client. @throws CodedError `unauthorized` */
function resolveObject(
  env: Env,
  key: string,
  { user }: SocketClient,
): { object: { fetch(request: Request): Promise<Response> }; headers: Record<string, string> } {
  if (key === PORTFOLIO_KEY) {
    if (user === null) throw new CodedError('unauthorized', 'sign in first, or send a ticket from /api/v1/auth/ticket')
    if (user.expiresAt <= Date.now()) throw new CodedError('unauthorized', 'the session has expired: send a new token')
    return { object: userPortfolio(env, user.id), headers: { 'kerb-until': String(user.expiresAt) } }
  }
  const shard = parseBoardKey(key)
  return { object: shard === null ? productCandles(env, key) : quoteBoard(env, shard), headers: {} }
}

/**
 * Opens a hibernating socket of an object. The returned socket is not accepted yet.
 * @param key a product's id, the key of a quote board, or `PORTFOLIO_KEY`
 * @throws CodedError with the object's code if it refuses, `unavailable` if it cannot be reached, `unauthorized` for the
 *   portfolio of an anonymous client
 */
export async function openObjectSocket(env: Env, key: string, client: SocketClient): Promise<WebSocket> {
  const { object, headers } = resolveObject(env, key, client)
  const request = new Request(`https://object/?passive=${client.passive}`, {
    headers: { upgrade: 'websocket', 'kerb-client': client.client, ...headers },
  })
  let response: Response
  try {
    response = await object.fetch(request)
  } catch (error) {
    log('object_unreachable', { key, error: String(error) })
    throw new CodedError('unavailable', `${key} is not reachable at the moment`, { retryAfter: 5 })
  }
  if (response.webSocket) return response.webSocket
  throw await toRefusal(response, key)
}

/** The error of a response without a socket. */
async function toRefusal(response: Response, key: string): Promise<CodedError> {
  const body: unknown = await response.json().catch(() => null)
  const { code, detail } = (body ?? {}) as { code?: unknown; detail?: unknown }
  const retryAfter = Number(response.headers.get('retry-after')) || undefined
  if (typeof code === 'string' && Object.hasOwn(ERROR_CODES, code))
    return new CodedError(code as ErrorCode, typeof detail === 'string' ? detail : key, { retryAfter })
  if (response.status === 401) return new CodedError('unauthorized', 'the session has expired: send a new token')
  if (response.status === 429)
    return new CodedError('too_many_sockets', `too many open sockets on ${key}`, { retryAfter: retryAfter ?? 60 })
  return new CodedError('unavailable', `${key} is not reachable at the moment`, { retryAfter: retryAfter ?? 5 })
}

/** The platform for a multiplexer inside a request of this client. */
export const multiplexerDeps = (env: Env, client: SocketClient): MultiplexerDeps => ({
  connect: async (key) => {
    const socket = await openObjectSocket(env, key, client)
    socket.accept()
    return toStreamSocket(socket)
  },
  now: () => Date.now(),
  random: () => Math.random(),
  later(run, ms) {
    const id = setTimeout(run, ms)
    return () => clearTimeout(id)
  },
})
