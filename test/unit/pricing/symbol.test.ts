import { describe, expect, test } from 'vitest'
import { normalizeName, resolve, shardOf, toCandidates } from '../../../src/pricing/symbol.ts'
import type { Asset } from '../../../src/protocol/asset.ts'

let ids = 0
const asset = (given: Partial<Asset>): Asset => {
  const symbol = given.symbol ?? 'AAPL'
  const base: Asset = {
    asset_id: ++ids,
    symbol,
    name: symbol,
    type: 'stock',
    category: 'equity',
    code: symbol,
    provider: 'yahoo',
    provider_id: symbol,
    currency: 'USD',
    isin: null,
  }
  return { ...base, ...given }
}

const coin = (code: string, currency: string, given: Partial<Asset> = {}) =>
  asset({
    symbol: code,
    code,
    currency,
    type: 'crypto',
    provider: 'coinbase',
    provider_id: `${code}-${currency}`,
    ...given,
  })

describe('normalizeName', () => {
  test.each([
    [' aapl ', 'AAPL'],
    ['btc-usd', 'BTC-USD'],
    ['^gspc', '^GSPC'],
    ['eurusd=x', 'EURUSD=X'],
    ['yahoo:SHEL.L', 'YAHOO:SHEL.L'],
    ['US0378331005', 'US0378331005'],
  ])('%j is %j', (text, name) => expect(normalizeName(text)).toBe(name))

  test.each(
    [
      '',
      ' ',
      'A B',
      "AAPL'; DROP TABLE assets--",
      'straße',
      'ıbm',
      'A'.repeat(41),
      'a:b:c',
      ':AAPL',
      'AAPL\n',
      '..',
      '*',
      '\u0000',
    ].map((text) => [text]),
  )('%j is no name, or is one only when trimmed', (text) =>
    expect(normalizeName(text)).toBe(text.trim() === 'AAPL' ? 'AAPL' : null),
  )
})

describe('shardOf', () => {
  test('all names of one base have the same shard', () => {
    for (const shards of [1, 2, 7, 64]) {
      const btc = shardOf('BTC', shards)
      for (const name of ['BTC-USD', 'COINBASE:BTC-USD', 'coinbase:BTC-EUR', 'btc'])
        expect(shardOf(name, shards)).toBe(btc)
      expect(shardOf('SHEL.L', shards)).toBe(shardOf('SHEL.AS', shards))
      expect(shardOf('EURUSD=X', shards)).toBe(shardOf('EURUSD', shards))
    }
  })

  test('the shard of a name is its FNV-1a hash', () => {
    for (const name of ['A', 'FOOBAR', '^GSPC']) expect(shardOf(name, 2 ** 31)).toBe(fnv(name) % 2 ** 31)
    expect(fnv('foobar')).toBe(0xbf9cf968)
  })

  test('names are spread evenly over the shards', () => {
    const counts = new Array(8).fill(0)
    for (let i = 0; i < 8_000; i++) counts[shardOf(`S${i.toString(36)}`, 8)]++
    for (const count of counts) expect(count).toBeGreaterThan(800)
  })
})

/** The same by another road; its published value for `foobar` is tested. */
function fnv(text: string): number {
  let hash = 0x811c9dc5n
  for (const char of text) hash = ((hash ^ BigInt(char.charCodeAt(0))) * 0x01000193n) & 0xffffffffn
  return Number(hash)
}

describe('resolve', () => {
  const btc = coin('BTC', 'USD')
  const btcEur = coin('BTC', 'EUR', { symbol: 'BTC-EUR' })
  const tether = coin('BTC', 'USDT', { symbol: 'BTCUSDT', provider: 'binance', provider_id: 'BTCUSDT' })
  const shellLondon = asset({
    symbol: 'SHEL.L',
    code: 'SHEL',
    provider_id: 'SHEL.L',
    currency: 'GBP',
    isin: 'GB00BP6MXD84',
  })
  const shellParis = asset({ symbol: 'SHELL.PA', code: 'SHEL', provider_id: 'SHELL.PA', currency: 'EUR' })
  const all = [btc, btcEur, tether, shellLondon, shellParis]
  const one = (found: Asset) => ({ kind: 'one', asset: found })

  test('BTC and BTC-USD are one asset', () => {
    expect(resolve('BTC', all)).toEqual(one(btc))
    expect(resolve('BTC-USD', all)).toEqual(one(btc))
    expect(resolve('COINBASE:BTC-USD', all)).toEqual(one(btc))
  })

  test('a USDT pair is not the USD one', () => {
    expect(resolve('BTC-USDT', all)).toEqual(one(tether))
    expect(resolve('BTCUSDT', all)).toEqual(one(tether))
    expect(resolve('BTC-USD', [tether])).toEqual({ kind: 'none' })
  })

  test('an ISIN resolves to one asset, and a code of several is ambiguous with candidates', () => {
    expect(resolve('GB00BP6MXD84', all)).toEqual(one(shellLondon))
    expect(resolve('SHEL', all)).toEqual({ kind: 'ambiguous', assets: [shellLondon, shellParis] })
    expect(toCandidates([shellLondon])).toEqual([
      { name_for_it: 'yahoo:SHEL.L', symbol: 'SHEL.L', name: 'SHEL.L', type: 'stock', currency: 'GBP' },
    ])
    for (const found of all)
      expect(resolve(`${found.provider}:${found.provider_id}`.toUpperCase(), all)).toEqual(one(found))
  })

  test('a symbol takes precedence over the other names of other assets', () => {
    const other = asset({ symbol: 'X', code: 'BTC', provider_id: 'X' })
    expect(resolve('BTC', [other, btc])).toEqual(one(btc))
    expect(resolve('BTC', [btcEur, other])).toEqual({ kind: 'ambiguous', assets: [btcEur, other] })
    expect(resolve('NO', all)).toEqual({ kind: 'none' })
  })

  test('symbols that are stored in lower case are found', () => {
    const small = asset({ symbol: 'aapl', code: 'AAPL', provider_id: 'AAPL' })
    expect(resolve('AAPL', [small])).toEqual(one(small))
  })
})
