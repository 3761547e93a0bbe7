import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { Meter } from '../../durable-objects/meter.ts'
import type { MeterObject, RouteCount } from '../../src/objects.ts'

const open = (name: string): MeterObject => env.METER.getByName(name) as unknown as MeterObject
const count = (route: string, more: Partial<RouteCount> = {}): RouteCount => ({
  route,
  method: 'GET',
  status: '2xx',
  count: 1,
  ms: 2,
  max_ms: 2,
  ...more,
})

test('the meter adds counts up by route, method and status class, and returns them once', async () => {
  const meter = open('sums')
  await meter.add([count('/a'), count('/a', { status: '4xx' }), count('/a', { method: 'POST' })])
  await meter.add([count('/a', { count: 3, ms: 10, max_ms: 7 }), count('/b')])
  expect(await meter.drain()).toEqual([
    count('/a', { count: 4, ms: 12, max_ms: 7 }),
    count('/a', { status: '4xx' }),
    count('/a', { method: 'POST' }),
    count('/b'),
  ])
  expect(await meter.drain()).toEqual([])
  await meter.add([count('/a')])
  expect(await meter.drain()).toEqual([count('/a')])
})

test('the meter counts routes beyond its limit together as `other`', async () => {
  const meter = open('bounded')
  await meter.add(Array.from({ length: 2_500 }, (_, n) => count(`/${n}`)))
  await meter.add([count('/7')])
  const gathered = await meter.drain()
  expect(gathered).toHaveLength(2_001)
  expect(gathered.at(-1)).toMatchObject({ route: 'other', method: 'other', status: 'other', count: 500 })
  expect(gathered[7]).toMatchObject({ route: '/7', count: 2 })
})

test('a meter that is evicted between two requests loses no count and returns none twice', async () => {
  await runInDurableObject(env.METER.getByName('asleep') as never, async (_: unknown, ctx: DurableObjectState) => {
    const next = () => new Meter(ctx, env)
    await next().add([count('/a')])
    await next().add([count('/a', { ms: 9, max_ms: 9 }), count('/b')])
    expect(await next().drain()).toEqual([count('/a', { count: 2, ms: 11, max_ms: 9 }), count('/b')])
    expect(await next().drain()).toEqual([])
  })
})
