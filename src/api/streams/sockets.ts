import { Hono, type MiddlewareHandler } from 'hono'
import { z } from 'zod'
import { readSettings } from '../../config.ts'
import { log } from '../../log.ts'
import { channelSymbols } from '../../protocol/channel.ts'
import { CLOSE_CODES, CodedError } from '../../protocol/errors.ts'
import {
  type ClientMessage,
  errorFrame,
  parseClientMessage,
  pongFrame,
  subscribedFrame,
  unsubscribedFrame,
} from '../../protocol/messages.ts'
import { splitStreamPositions } from '../../protocol/stream-position.ts'
import { authenticatePublicSocket, authenticateSocket, ticketParam } from '../accounts/socket-user.ts'
import { candleStreamSchema, checkProduct } from '../candles/input.ts'
import { offlineProducts, productIdPath, productOfflineError } from '../candles/products.ts'
import { type AppEnv, clientAddress } from '../http/context.ts'
import { type Operations, operation, response, USER_SECURITY } from '../http/operation.ts'
import { rateLimit } from '../http/rate-limits.ts'
import { allQuoteRoutes, resolveQuoteRoutes } from '../quotes/channels.ts'
import { parseBoardKey } from '../quotes/quote-route.ts'
import { type ChannelCatalog, expandChannels, PORTFOLIO_KEY } from './channels.ts'
import { createMultiplexer } from './multiplexer.ts'
import { multiplexerDeps, openObjectSocket, type SocketClient } from './object-socket.ts'

/** @throws CodedError `upgrade_required` for a request that is not a WebSocket handshake */
const requireUpgrade: MiddlewareHandler<AppEnv> = async (c, next) => {
  if (c.req.header('upgrade')?.toLowerCase() !== 'websocket')
    throw new CodedError('upgrade_required', 'this address expects a WebSocket handshake (Upgrade: websocket)')
  await next()
}

/**
 * `/ws/products/:id` and `/ws/portfolio` return the socket of the object itself; `/ws` joins the sockets of any number of
 * objects.
 */
export const socketRoutes = new Hono<AppEnv>()
  .get('/ws/products/:id', requireUpgrade, rateLimit('SOCKET_LIMIT'), async (c) => {
    const product = c.req.param('id')
    checkProduct(product, readSettings(c.env), 'id')
    if ((await offlineProducts(c.env, [product])).size > 0) throw productOfflineError(product, 'id')
    const socketClient = { client: clientAddress(c), passive: c.req.query('passive') === 'true', user: null }
    return new Response(null, { status: 101, webSocket: await openObjectSocket(c.env, product, socketClient) })
  })
  .get('/ws/portfolio', requireUpgrade, rateLimit('SOCKET_LIMIT'), async (c) => {
    const socketClient = { client: clientAddress(c), passive: false, user: await authenticateSocket(c) }
    const webSocket = await openObjectSocket(c.env, PORTFOLIO_KEY, socketClient)
    // The headers hold renewed cookies.
    return new Response(null, { status: 101, webSocket, headers: c.res.headers })
  })
  .get('/ws', requireUpgrade, rateLimit('SOCKET_LIMIT'), async (c) => {
    const socketClient = {
      client: clientAddress(c),
      passive: c.req.query('passive') === 'true',
      user: await authenticatePublicSocket(c),
    }
    const { 0: client, 1: server } = new WebSocketPair()
    server.accept()
    serveSocket(server, c.env, socketClient)
    return new Response(null, { status: 101, webSocket: client, headers: c.res.headers })
  })

type Message<Op extends ClientMessage['op']> = Extract<ClientMessage, { op: Op }>

/** Serves one client's socket (docs/protocol.md) until it closes. */
function serveSocket(socket: WebSocket, env: Env, client: SocketClient): void {
  const { MAX_CHANNELS } = readSettings(env)
  /** The channels by the names that the client gave, each as the channels of its objects by their keys. */
  const subscribed = new Map<string, Map<string, string[]>>()
  let open = true

  const send = (text: string) => {
    if (open) socket.send(text)
  }
  const close = (code: number, reason: string) => {
    if (!open) return
    open = false
    multiplexer.close()
    socket.close(code, reason)
  }
  const multiplexer = createMultiplexer(
    {
      onSubscribed: ({ key, channels, position, recovered, req_id }) =>
        send(subscribedFrame(namesOf(key, channels), position, recovered, req_id)),
      onFrame: send,
      onFeed: send,
      onRefused: ({ key, code, message, req_id }) => send(refusalFrame(key, code, message, req_id)),
      onLost: (_key, code, reason) => close(code, reason),
    },
    multiplexerDeps(env, client),
  )

  /** A quote board names an asset by its own symbol; the client gets the name that it subscribed to. */
  const namesOf = (key: string, channels: readonly string[]): readonly string[] =>
    parseBoardKey(key) === null
      ? channels
      : [...subscribed].filter(([, of]) => of.get(key)?.some((each) => channels.includes(each))).map(([name]) => name)

  const handle = async (data: unknown): Promise<void> => {
    multiplexer.ping()
    if (typeof data !== 'string')
      return send(errorFrame('invalid_message', 'the message must be text, not binary', null))
    const read = parseClientMessage(data)
    if ('error' in read) return send(read.error)
    const { message } = read
    const { req_id } = message
    switch (message.op) {
      case 'ping':
        return send(pongFrame(req_id))
      case 'ack':
        return multiplexer.ack(splitStreamPositions(message.position))
      case 'unsubscribe':
        return unsubscribe(message)
      case 'subscribe':
        return subscribe(message)
    }
  }

  const subscribe = async ({ channels, since, req_id }: Message<'subscribe'>): Promise<void> => {
    // Before any lookup.
    if (new Set([...subscribed.keys(), ...channels]).size > MAX_CHANNELS) {
      const text = `a connection has at most ${MAX_CHANNELS} channels`
      return send(errorFrame('too_many_channels', text, 'channels', req_id))
    }
    const catalog = await loadChannelCatalog(env, channels, client)
    const wanted = expandChannels(channels, catalog)
    if (!(wanted instanceof Map)) return send(errorFrame(wanted.code, wanted.message, wanted.field, req_id))
    if (wanted.size === 0) return send(errorFrame('product_offline', 'no product is traded now', 'channels', req_id))
    for (const name of channels) subscribed.set(name, expandChannels([name], catalog) as Map<string, string[]>)
    const positions = splitStreamPositions(since ?? '')
    for (const [key, names] of wanted) multiplexer.subscribe(key, names, positions.get(key) ?? null, req_id)
  }

  const unsubscribe = ({ channels: names, req_id }: Message<'unsubscribe'>): void => {
    const ended = names.flatMap((name) => [...(subscribed.get(name) ?? [])])
    for (const name of names) subscribed.delete(name)
    const remaining = (key: string) => new Set([...subscribed.values()].flatMap((channels) => channels.get(key) ?? []))
    for (const [key, channels] of ended) {
      const unused = channels.filter((channel) => !remaining(key).has(channel))
      if (unused.length > 0) multiplexer.unsubscribe(key, unused)
    }
    send(unsubscribedFrame(names, req_id))
  }

  // One message after the other: an unsubscribe must not overtake its subscribe, which may read the database.
  let queue = Promise.resolve()
  socket.addEventListener('message', ({ data }) => {
    queue = queue
      .then(() => handle(data))
      .catch((error: unknown) => {
        log('socket_message_failed', { error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
        send(errorFrame('internal', 'the server failed on this message', null))
      })
  })
  socket.addEventListener('close', () => {
    open = false
    multiplexer.close()
  })
  socket.addEventListener('error', () => close(CLOSE_CODES.restarting, 'the connection broke'))
}

/** The catalog for a subscribe to these channels. */
async function loadChannelCatalog(
  env: Env,
  channels: readonly string[],
  { user }: SocketClient,
): Promise<ChannelCatalog> {
  const { PRODUCTS } = readSettings(env)
  const [offline, quotes] = await Promise.all([
    offlineProducts(env, PRODUCTS),
    resolveQuoteRoutes(env, channelSymbols(channels, 'quotes')),
  ])
  return { active: PRODUCTS, offline, boards: allQuoteRoutes(env), quotes, signedIn: user !== null }
}

const refusalFrame = (key: string, code: string, message: string, req_id: string | number | undefined): string =>
  JSON.stringify({ type: 'error', code, message: `${key}: ${message}`, field: 'channels', req_id })

const socketQuery = { passive: candleStreamSchema.shape.passive }
const socketOpened = response(101, 'The socket is open; its messages are SocketRequest and SocketMessage')

export const SOCKET_OPERATIONS: Operations = {
  'get /ws': operation('Live', 'openSocket', {
    summary: 'A WebSocket for all channels: candles.BTC-USD.ONE_MINUTE, quotes.AAPL, portfolio, asset.AAPL',
    description: 'The channels portfolio and asset.* need a signed-in user, as /ws/portfolio does.',
    security: [{}, ...USER_SECURITY],
    query: z.object({ ...socketQuery, ticket: ticketParam }),
    responses: socketOpened,
    errors: ['invalid_request', 'unauthorized', 'forbidden', 'upgrade_required', 'too_many_sockets', 'unavailable'],
  }),
  'get /ws/products/{id}': operation('Live', 'openProductSocket', {
    summary: 'A WebSocket of one product, served by the product’s own object',
    path: productIdPath,
    query: z.object(socketQuery),
    responses: socketOpened,
    errors: ['upgrade_required', 'unknown_product', 'product_offline', 'too_many_sockets'],
  }),
  'get /ws/portfolio': operation('Live', 'openPortfolioSocket', {
    summary: 'A WebSocket of your own portfolio: channels portfolio, asset.AAPL',
    description:
      'Accepts a bearer token, a ticket, or the cookies of our own pages. A page must be of our origin or of an allowed one.',
    security: [...USER_SECURITY, {}],
    query: z.object({ ticket: ticketParam }),
    responses: response(101, 'The socket is open; its messages are the schemas named Socket… and PortfolioMessage'),
    errors: ['invalid_request', 'unauthorized', 'forbidden', 'upgrade_required', 'too_many_sockets', 'unavailable'],
  }),
}
