import { Hono, type MiddlewareHandler } from 'hono'
import { settings } from '../../config.ts'
import { CLOSE, CodedError } from '../../protocol/errors.ts'
import {
  type ClientMessage,
  errorFrame,
  pongFrame,
  readClientMessage,
  subscribedFrame,
  unsubscribedFrame,
} from '../../protocol/messages.ts'
import { splitPositions } from '../../protocol/stream-position.ts'
import { socketVisitor } from '../accounts/socket-user.ts'
import { offlineProducts } from '../candles/products.ts'
import { type AppEnv, log } from '../http/context.ts'
import { checkProduct } from '../http/input.ts'
import { clientOf, socketLimit } from '../http/rate-limits.ts'
import { everyBoard, quotePlaces } from '../quotes/channels.ts'
import { shardOfKey } from '../quotes/quote-route.ts'
import { expandChannels, type Market, symbolsOf } from './channels.ts'
import { joinObjects } from './multiplexer.ts'
import { joinDeps, openObjectSocket, type Viewer } from './object-socket.ts'

/** @throws CodedError `upgrade_required` for a request that is no WebSocket handshake */
export const upgradeOnly: MiddlewareHandler<AppEnv> = async (c, next) => {
  if (c.req.header('upgrade')?.toLowerCase() !== 'websocket')
    throw new CodedError('upgrade_required', 'this address takes a WebSocket handshake (Upgrade: websocket)')
  await next()
}

/** @throws CodedError `product_offline` naming `field` if one of the products is not traded now */
export async function checkTraded(env: Env, products: readonly string[], field: string): Promise<void> {
  const [id] = await offlineProducts(env, products)
  if (id === undefined) return
  throw new CodedError('product_offline', `${id} is not traded now`, {
    errors: [{ field, message: `${id} is offline or delisted` }],
  })
}

/** `/ws/products/:id` hands over the object's own socket; `/ws` joins those of any number of objects. */
export const sockets = new Hono<AppEnv>()
  .get('/ws/products/:id', upgradeOnly, socketLimit, async (c) => {
    const product = c.req.param('id')
    checkProduct(product, settings(c.env), 'id')
    await checkTraded(c.env, [product], 'id')
    const viewer = { client: clientOf(c), passive: c.req.query('passive') === 'true', user: null }
    return new Response(null, { status: 101, webSocket: await openObjectSocket(c.env, product, viewer) })
  })
  .get('/ws', upgradeOnly, socketLimit, async (c) => {
    const viewer = {
      client: clientOf(c),
      passive: c.req.query('passive') === 'true',
      user: await socketVisitor(c),
    }
    const { 0: client, 1: server } = new WebSocketPair()
    server.accept()
    serve(server, c.env, viewer)
    // The headers: cookies that had to be renewed.
    return new Response(null, { status: 101, webSocket: client, headers: c.res.headers })
  })

type Message<Op extends ClientMessage['op']> = Extract<ClientMessage, { op: Op }>

/** Speaks PROTOCOL's socket messages with one client, for as long as its socket lives. */
function serve(socket: WebSocket, env: Env, viewer: Viewer): void {
  const { MAX_CHANNELS } = settings(env)
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
  const join = joinObjects(
    {
      subscribed: ({ key, channels, position, recovered, req_id }) =>
        send(subscribedFrame(namesOf(key, channels), position, recovered, req_id)),
      frame: send,
      feed: send,
      refused: ({ key, code, message, req_id }) => send(refusedFrame(key, code, message, req_id)),
      lost: (_key, code, reason) => close(code, reason),
    },
    joinDeps(env, viewer),
  )

  /** A board knows an asset by its own symbol alone, the client by the name that it asked for. */
  const namesOf = (key: string, channels: readonly string[]): readonly string[] =>
    shardOfKey(key) === null
      ? channels
      : [...subscribed].filter(([, of]) => of.get(key)?.some((each) => channels.includes(each))).map(([name]) => name)

  const handle = async (data: unknown): Promise<void> => {
    join.alive()
    if (typeof data !== 'string')
      return send(errorFrame('invalid_message', 'the message must be text, not binary', null))
    const read = readClientMessage(data)
    if ('error' in read) return send(read.error)
    const { message } = read
    const { req_id } = message
    switch (message.op) {
      case 'ping':
        return send(pongFrame(req_id))
      case 'ack':
        return join.ack(splitPositions(message.position))
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
    const market = await marketOf(env, channels, viewer)
    const wanted = expandChannels(channels, market)
    if (!(wanted instanceof Map)) return send(errorFrame(wanted.code, wanted.message, wanted.field, req_id))
    if (wanted.size === 0) return send(errorFrame('product_offline', 'no product is traded now', 'channels', req_id))
    for (const name of channels) subscribed.set(name, expandChannels([name], market) as Map<string, string[]>)
    const positions = splitPositions(since ?? '')
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
  socket.addEventListener('error', () => close(CLOSE.restarting, 'the connection broke'))
}

/** What a subscribe to these channels may mean now. */
async function marketOf(env: Env, channels: readonly string[], { user }: Viewer): Promise<Market> {
  const { PRODUCTS } = settings(env)
  const [offline, quotes] = await Promise.all([
    offlineProducts(env, PRODUCTS),
    quotePlaces(
      env,
      symbolsOf(channels).filter((symbol) => symbol !== '*'),
    ),
  ])
  return { active: PRODUCTS, offline, boards: everyBoard(env), quotes, signedIn: user !== null }
}

const refusedFrame = (key: string, code: string, message: string, req_id: string | number | undefined): string =>
  JSON.stringify({ type: 'error', code, message: `${key}: ${message}`, field: 'channels', req_id })
