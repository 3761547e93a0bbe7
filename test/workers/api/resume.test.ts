import { abortAllDurableObjects } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test } from 'vitest'
import { candleTexts, framePosition, frameType } from '../../../src/api/streams/frames.ts'
import { readSettings } from '../../../src/config.ts'
import { productCandles } from '../../../src/objects.ts'
import { closeAll, get, type Message, openEventStream, openSocket, sendTrade, waitFor } from '../support/wire.ts'

afterEach(closeAll)

type Client = Awaited<ReturnType<typeof openSocket>>

const channel = (product: string, granularity = 'ONE_MINUTE') => `candles.${product}.${granularity}`
const live = (product: string) =>
  waitFor(`the feed of ${product}`, async () =>
    (await productCandles(env, product).status()).feed.state === 'live' ? true : null,
  )
const updates = (client: Client) => client.texts.filter((text) => frameType(text) === 'update')
const has = (client: Client, price: string) =>
  waitFor(`${price} among ${client.texts.length} frames`, () =>
    client.texts.some((text) => text.includes(`"close":${price},`)) ? true : null,
  )

/** Waits until the object has handled all that was sent to it, acks too. */
async function settled(client: Client): Promise<void> {
  client.send({ op: 'ping', req_id: 'settled' })
  await client.next('pong')
}

/** Subscribes on a product's own socket, and acks every frame as it comes. */
async function reader(product: string, since?: string, channels = [channel(product, '*')]): Promise<Client> {
  const client = await openSocket(`/ws/products/${product}`)
  client.socket.addEventListener('message', ({ data }) => {
    const position = framePosition(data as string)
    if (client.socket.readyState !== WebSocket.OPEN) return
    if (position !== null && frameType(data as string) !== 'subscribed') client.send({ op: 'ack', position })
  })
  client.send({ op: 'subscribe', channels, ...(since === undefined ? {} : { since }) })
  await client.next('subscribed')
  if (since === undefined) await client.next('snapshot')
  await settled(client)
  return client
}

describe('D2 resume', () => {
  test('from every position returns every later frame, to the last byte, and nothing else', async () => {
    const stays = await reader('ONE-USD')
    await live('ONE-USD')
    await sendTrade('ONE-USD', '200')
    await has(stays, '200')
    for (let i = 1; i <= 25; i++) await sendTrade('ONE-USD', `200.${i}1`)
    await has(stays, '200.251')
    const all = updates(stays)
    for (let from = 0; from < all.length; from++) {
      const back = await reader('ONE-USD', framePosition(all[from] as string) as string)
      // A minute may close meanwhile: both see that.
      const missed = () => updates(stays).slice(from + 1)
      await waitFor('what was missed', () => (updates(back).length === missed().length ? true : null))
      expect(updates(back)).toEqual(missed())
      expect(JSON.parse(back.texts[0] as string)).toMatchObject({ recovered: true })
      expect(back.texts.some((text) => frameType(text) === 'snapshot')).toBe(false)
      back.close()
    }
  })

  test('from any position after the object has restarted returns a snapshot and says so', async () => {
    const stays = await reader('ONE-USD')
    await live('ONE-USD')
    await sendTrade('ONE-USD', '201')
    await has(stays, '201')
    const position = framePosition(stays.texts.at(-1) as string) as string
    await abortAllDurableObjects()
    const back = await openSocket('/ws/products/ONE-USD')
    back.send({ op: 'subscribe', channels: [channel('ONE-USD')], since: position })
    const answer = await back.next('subscribed')
    expect(answer.recovered).toBe(false)
    expect(answer.position.split('-')[0]).not.toBe(position.split('-')[0])
    const snapshot = await back.next('snapshot')
    expect(snapshot.position).toBe(answer.position)
    await live('ONE-USD')
    await waitFor('the price of before, by backfill', () =>
      back.texts.some((text) => text.includes('"close":201,')) ? true : null,
    )
  })

  test('of several objects reports for each whether it recovered', async () => {
    const stays = await reader('ONE-USD')
    await live('ONE-USD')
    await sendTrade('ONE-USD', '202')
    await has(stays, '202')
    const position = framePosition(stays.texts.at(-1) as string)
    await sendTrade('ONE-USD', '203')
    await has(stays, '203')
    const since = `ONE-USD:${position},TWO-USD:0123456789abcdef-7`
    const socket = await openSocket('/ws')
    socket.send({ op: 'subscribe', channels: [channel('ONE-USD'), channel('TWO-USD')], since })
    const answers = new Map<string, Message>()
    for (let i = 0; i < 2; i++) {
      const answer = await socket.next('subscribed')
      answers.set((answer.channels as string[])[0] as string, answer)
    }
    expect(answers.get(channel('ONE-USD'))?.recovered).toBe(true)
    expect(answers.get(channel('TWO-USD'))?.recovered).toBe(false)
    await has(socket, '203')
    const snapshots = () => socket.texts.filter((text) => frameType(text) === 'snapshot')
    await waitFor('the snapshot', () => (snapshots().length > 0 ? true : null))
    expect(snapshots().flatMap(candleTexts).join()).not.toContain('ONE-USD')
    expect(updates(socket).every((text) => !text.includes('"close":202,'))).toBe(true)

    const stream = await openEventStream('/api/v1/stream?product=ONE-USD,TWO-USD&granularity=ONE_MINUTE', {
      'last-event-id': since,
    })
    expect(JSON.parse((await stream.next('position')).data).recovered).toBe(false)
    const candle = await stream.next(
      'candle',
      ({ data, id }) => id !== null && JSON.parse(data).product_id === 'ONE-USD',
    )
    expect(JSON.parse(candle.data).close).toBe(203)
    expect(stream.events.some(({ data }) => data.includes('"close":202,'))).toBe(false)
  })
})

describe('C11 a page and its stream', () => {
  test('neither skip nor repeat a candle, wherever between two trades the page was rendered', async () => {
    const stays = await reader('TWO-USD')
    await live('TWO-USD')
    let price = 300
    for (let turn = 0; turn < 8; turn++) {
      const trades = (async () => {
        for (let i = 0; i < 6; i++) await sendTrade('TWO-USD', `${++price}`)
      })()
      const page = await (await get('/products/TWO-USD?granularity=ONE_MINUTE')).text()
      await trades
      await has(stays, `${price}`)
      const since = /data-position="([^"]+)"/.exec(page)?.[1] as string
      const candles = /data-candles='([^']*)'/.exec(page)?.[1] as string
      const painted = (JSON.parse(candles) as { t: number; c: number }[]).at(-1)?.c
      const back = await reader('TWO-USD', since, [channel('TWO-USD')])
      const after = updates(stays).filter((text) => text.includes('"granularity":"ONE_MINUTE"'))
      const at = after.findIndex((text) => framePosition(text) === since)
      const missed = at < 0 && turn === 0 ? after.length : after.length - at - 1
      await waitFor('what came after the page', () => (updates(back).length >= missed ? true : null))
      expect(JSON.parse(back.texts[0] as string)).toMatchObject({ recovered: true, position: since })
      const closes = updates(back).map((text) => JSON.parse(text).candles.at(-1).close as number)
      // A minute that closes is a frame more with the same price.
      const seen = [painted as number, ...closes].filter((close, i, all) => close !== all[i - 1])
      expect(seen).toEqual(Array.from({ length: seen.length }, (_, i) => price - seen.length + 1 + i))
      back.close()
    }
  })
})

describe('D3 slow clients', () => {
  const counters = async () => (await productCandles(env, 'THREE-USD').status()).counters

  test('a client that stops acking gets a window of frames, then the current state with its next ack; others get all frames', async () => {
    const { MAX_UNACKED_FRAMES } = readSettings(env)
    const stays = await reader('THREE-USD')
    await live('THREE-USD')
    // The exchange has taken the subscription when a trade comes: earlier ones may come together.
    await sendTrade('THREE-USD', '400')
    await has(stays, '400')
    const lags = await openSocket('/ws/products/THREE-USD')
    lags.send({ op: 'subscribe', channels: [channel('THREE-USD', '*')] })
    lags.send({ op: 'ack', position: (await lags.next('snapshot')).position })
    const { conflations } = await counters()
    for (let i = 1; i <= MAX_UNACKED_FRAMES * 2; i++) {
      await sendTrade('THREE-USD', `${400 + i}`)
      // Trades come faster than a reader on a busy machine can ack.
      if (i % 16 === 0) await has(stays, `${400 + i}`)
      if (i % 16 === 0) await settled(stays)
    }
    const last = `${400 + MAX_UNACKED_FRAMES * 2}`
    await has(stays, last)
    for (let i = 1; i <= MAX_UNACKED_FRAMES * 2; i++)
      expect(updates(stays).some((text) => text.includes(`"close":${400 + i},`))).toBe(true)
    expect(updates(lags)).toHaveLength(MAX_UNACKED_FRAMES)
    lags.send({ op: 'ack', position: framePosition(updates(lags).at(-1) as string) })
    await has(lags, last)
    expect(updates(lags)).toHaveLength(MAX_UNACKED_FRAMES + 1)
    expect(updates(lags).at(-1)).toContain(`"position":"${framePosition(updates(stays).at(-1) as string)}"`)
    expect((await counters()).conflations).toBe(conflations + 1)
  })

  test('a client that never acks gets one frame per interval, and the last one by the object’s alarm', async () => {
    const { UNACKED_SEND_INTERVAL_MS } = readSettings(env)
    const never = await openSocket('/ws/products/THREE-USD')
    never.send({ op: 'subscribe', channels: [channel('THREE-USD')] })
    await never.next('snapshot')
    await live('THREE-USD')
    const began = Date.now()
    for (let i = 1; i <= 60; i++) await sendTrade('THREE-USD', `${600 + i}`)
    await has(never, '660')
    expect(updates(never).length).toBeLessThanOrEqual((Date.now() - began) / UNACKED_SEND_INTERVAL_MS + 2)
    expect(updates(never).length).toBeLessThan(60)
  })

  test('an event stream that reads gets every change, since the Worker acks for it', async () => {
    const stream = await openEventStream('/api/v1/stream?product=THREE-USD&granularity=ONE_MINUTE')
    await stream.next('feed', ({ data }) => JSON.parse(data).state === 'live')
    // Until the object knows that this reader acks, it gets a frame a beat: each of these is awaited by itself.
    for (let i = 0; i <= 5; i++) {
      await sendTrade('THREE-USD', `${700 + i}`)
      await stream.next('candle', ({ data }) => JSON.parse(data).close === 700 + i)
    }
    for (let i = 6; i <= 60; i++) await sendTrade('THREE-USD', `${700 + i}`)
    await stream.next('candle', ({ data }) => JSON.parse(data).close === 760)
    const closes = new Set(stream.events.map(({ event, data }) => event === 'candle' && JSON.parse(data).close))
    for (let i = 1; i <= 60; i++) expect(closes).toContain(700 + i)
  })

  test('a plain ping is answered without waking the object, and a ping with req_id by the object', async () => {
    const client = await openSocket('/ws/products/THREE-USD')
    client.send('{"op":"ping"}')
    expect(await client.next('pong')).toEqual({ type: 'pong' })
    client.send({ op: 'ping', req_id: 5 })
    expect(await client.next('pong')).toEqual({ type: 'pong', req_id: 5 })
  })
})
