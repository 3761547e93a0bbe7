import { log } from '../../log.ts'
import { productCandles, quoteBoard, userPortfolio } from '../../objects.ts'
import { CodedError, ERROR_CODES, type ErrorCode } from '../../protocol/errors.ts'
import type { SocketUser } from '../accounts/tickets.ts'
import { parseBoardKey } from '../quotes/quote-route.ts'
import { PORTFOLIO_KEY } from './channels.ts'

/**
 * Who opens a socket to an object: the client's address, for the limit per client, whether it counts as a viewer, and
 * who that is, where it is known.
 */
export type SocketClient = { client: string; passive: boolean; user: SocketUser | null }

/** The object of a key, and what it is to know of who asks. @throws CodedError `unauthorized` */
function resolveObject(
  env: Env,
  key: string,
  { user }: SocketClient,
): { object: { fetch(request: Request): Promise<Response> }; headers: Record<string, string> } {
  if (key === PORTFOLIO_KEY) {
    if (user === null) throw new CodedError('unauthorized', 'sign in first, or bring a ticket of /api/v1/auth/ticket')
    if (user.expiresAt <= Date.now()) throw new CodedError('unauthorized', 'the session is over: bring another token')
    return { object: userPortfolio(env, user.id), headers: { 'kerb-until': String(user.expiresAt) } }
  }
  const shard = parseBoardKey(key)
  return { object: shard === null ? productCandles(env, key) : quoteBoard(env, shard), headers: {} }
}

/**
 * Opens an object's own hibernating socket; it is not accepted yet.
 * @param key a product's id, that of a board of quotes, or that of the user's own object
 * @throws CodedError with the object's own code if it refuses, `unavailable` if it cannot be reached, `unauthorized` for
 *   the portfolio of nobody
 */
export async function openObjectSocket(env: Env, key: string, viewer: SocketClient): Promise<WebSocket> {
  const { object, headers } = resolveObject(env, key, viewer)
  const request = new Request(`https://object/?passive=${viewer.passive}`, {
    headers: { upgrade: 'websocket', 'kerb-client': viewer.client, ...headers },
  })
  let response: Response
  try {
    response = await object.fetch(request)
  } catch (error) {
    log('object_unreachable', { key, error: String(error) })
    throw new CodedError('unavailable', `${key} cannot be reached at the moment`, { retryAfter: 5 })
  }
  if (response.webSocket) return response.webSocket
  throw await readRefusal(response, key)
}

/** The error in an object's answer that is no socket. */
async function readRefusal(response: Response, key: string): Promise<CodedError> {
  const body: unknown = await response.json().catch(() => null)
  const { code, detail } = (body ?? {}) as { code?: unknown; detail?: unknown }
  const retryAfter = Number(response.headers.get('retry-after')) || undefined
  if (typeof code === 'string' && Object.hasOwn(ERROR_CODES, code))
    return new CodedError(code as ErrorCode, typeof detail === 'string' ? detail : key, { retryAfter })
  if (response.status === 401) return new CodedError('unauthorized', 'the session is over: bring another token')
  if (response.status === 429)
    return new CodedError('too_many_sockets', `too many open sockets on ${key}`, { retryAfter: retryAfter ?? 60 })
  return new CodedError('unavailable', `${key} cannot be reached at the moment`, { retryAfter: retryAfter ?? 5 })
}

/** What joining objects' sockets takes, inside a request of this viewer. */
export const multiplexerDeps = (env: Env, viewer: SocketClient) => ({
  connect: async (key: string) => {
    const socket = await openObjectSocket(env, key, viewer)
    socket.accept()
    return socket
  },
  now: () => Date.now(),
  random: () => Math.random(),
  setTimeout: (run: () => void, ms: number) => setTimeout(run, ms),
})
