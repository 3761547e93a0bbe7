import { Hono, type MiddlewareHandler } from 'hono'
import { readSettings } from '../../config.ts'
import { log } from '../../log.ts'
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
import { authenticatePublicSocket } from '../accounts/socket-user.ts'
import { offlineProducts } from '../candles/products.ts'
import type { AppEnv } from '../http/context.ts'
import { checkProduct } from '../http/input.ts'
import { clientAddress, socketLimit } from '../http/rate-limits.ts'
import { allQuoteRoutes, resolveQuoteRoutes } from '../quotes/channels.ts'
import { parseBoardKey } from '../quotes/quote-route.ts'
import { type ChannelCatalog, expandChannels, quoteSymbols } from './channels.ts'
import { createMultiplexer } from './multiplexer.ts'
import { multiplexerDeps, openObjectSocket, type SocketClient } from './object-socket.ts'

/** @throws CodedError `upgrade_required` for a request that is no WebSocket handshake */
export const requireUpgrade: MiddlewareHandler<AppEnv> = async (c, next) => {
  if (c.req.header('upgrade')?.toLowerCase() !== 'websocket')
    throw new CodedError('upgrade_required', 'this address takes a WebSocket handshake (Upgrade: websocket)')
  await next()
}

/** @throws CodedError `product_offline` naming `field` if one of the products is not traded now */
export async function checkTradable(env: Env, products: readonly string[], field: string): Promise<void> {
  const [id] = await offlineProducts(env, products)
  if (id === undefined) return
  throw new CodedError('product_offline', `${id} is not traded now`, {
    errors: [{ field, message: `${id} is offline or delisted` }],
  })
}

/** `/ws/products/:id` hands over the object's own socket; `/ws` joins those of any number of objects. */
export const socketRoutes = new Hono<AppEnv>()
  .get('/ws/products/:id', requireUpgrade, socketLimit, async (c) => {
    const product = c.req.param('id')
    checkProduct(product, readSettings(c.env), 'id')
    await checkTradable(c.env, [product], 'id')
    const viewer = { client: clientAddress(c), passive: c.req.query('passive') === 'true', user: null }
    return new Response(null, { status: 101, webSocket: await openObjectSocket(c.env, product, viewer) })
  })
  .get('/ws', requireUpgrade, socketLimit, async (c) => {
    const viewer = {
      client: clientAddress(c),
      passive: c.req.query('passive') === 'true',
      user: await authenticatePublicSocket(c),
    }
    const { 0: client, 1: server } = new WebSocketPair()
    server.accept()
    serveSocket(server, c.env, viewer)
    // The headers: cookies that had to be renewed.
    return new Response(null, { status: 101, webSocket: client, headers: c.res.headers })
  })

type Message<Op extends ClientMessage['op']> = Extract<ClientMessage, { op: Op }>

/** Speaks PROTOCOL's socket messages with one client, for as long as its socket lives. */
function serveSocket(socket: WebSocket, env: Env, viewer: SocketClient): void {
  const { MAX_CHANNELS } = readSettings(env)
  /** The channels as the client named them, and what each stands for, by the keys of the objects. */
  const subscribed = new Map<string, Map<string, string[]>>()
  let open = true

  const send = (text: string) => {
    if (open) socket.send(text)
  }
  const close = (code: number, reason: string) => {
    if (!open) return
    open = false
    join.close()
    socket.close(code, reason)
  }
  const join = createMultiplexer(
    {
      onSubscribed: ({ key, channels, position, recovered, req_id }) =>
        send(subscribedFrame(namesOf(key, channels), position, recovered, req_id)),
      onFrame: send,
      onFeed: send,
      onRefused: ({ key, code, message, req_id }) => send(refusalFrame(key, code, message, req_id)),
      onLost: (_key, code, reason) => close(code, reason),
    },
    multiplexerDeps(env, viewer),
  )

  /** A board knows an asset by its own symbol alone, the client by the name that it asked for. */
  const namesOf = (key: string, channels: readonly string[]): readonly string[] =>
    parseBoardKey(key) === null
      ? channels
      : [...subscribed].filter(([, of]) => of.get(key)?.some((each) => channels.includes(each))).map(([name]) => name)

  const handle = async (data: unknown): Promise<void> => {
    join.ping()
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
        return join.ack(splitStreamPositions(message.position))
      case 'unsubscribe':
        return unsubscribe(message)
      case 'subscribe':
        return subscribe(message)
    }
  }

  const subscribe = async ({ channels, since, req_id }: Message<'subscribe'>): Promise<void> => {
    // Before anything is looked up: so many names at most.
    if (new Set([...subscribed.keys(), ...channels]).size > MAX_CHANNELS) {
      const text = `a connection has at most ${MAX_CHANNELS} channels`
      return send(errorFrame('too_many_channels', text, 'channels', req_id))
    }
    const market = await loadChannelCatalog(env, channels, viewer)
    const wanted = expandChannels(channels, market)
    if (!(wanted instanceof Map)) return send(errorFrame(wanted.code, wanted.message, wanted.field, req_id))
    if (wanted.size === 0) return send(errorFrame('product_offline', 'no product is traded now', 'channels', req_id))
    for (const name of channels) subscribed.set(name, expandChannels([name], market) as Map<string, string[]>)
    const positions = splitStreamPositions(since ?? '')
    for (const [key, names] of wanted) join.subscribe(key, names, positions.get(key) ?? null, req_id)
  }

  const unsubscribe = ({ channels: names, req_id }: Message<'unsubscribe'>): void => {
    const gone = names.flatMap((name) => [...(subscribed.get(name) ?? [])])
    for (const name of names) subscribed.delete(name)
    const kept = (key: string) => new Set([...subscribed.values()].flatMap((channels) => channels.get(key) ?? []))
    for (const [key, channels] of gone) {
      const left = channels.filter((channel) => !kept(key).has(channel))
      if (left.length > 0) join.unsubscribe(key, left)
    }
    send(unsubscribedFrame(names, req_id))
  }

  // One message after the other: a subscribe that has to ask the database must not be passed by its unsubscribe.
  let turn = Promise.resolve()
  socket.addEventListener('message', ({ data }) => {
    turn = turn
      .then(() => handle(data))
      .catch((error: unknown) => {
        log('socket_message_failed', { error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
        send(errorFrame('internal', 'the server failed on this message', null))
      })
  })
  socket.addEventListener('close', () => {
    open = false
    join.close()
  })
  socket.addEventListener('error', () => close(CLOSE_CODES.restarting, 'the connection broke'))
}

/** What a subscribe to these channels may mean now. */
async function loadChannelCatalog(
  env: Env,
  channels: readonly string[],
  { user }: SocketClient,
): Promise<ChannelCatalog> {
  const { PRODUCTS } = readSettings(env)
  const [offline, quotes] = await Promise.all([
    offlineProducts(env, PRODUCTS),
    resolveQuoteRoutes(
      env,
      quoteSymbols(channels).filter((symbol) => symbol !== '*'),
    ),
  ])
  return { active: PRODUCTS, offline, boards: allQuoteRoutes(env), quotes, signedIn: user !== null }
}

const refusalFrame = (key: string, code: string, message: string, req_id: string | number | undefined): string =>
  JSON.stringify({ type: 'error', code, message: `${key}: ${message}`, field: 'channels', req_id })
