import { describe, expect, test } from 'vitest'
import { boardKey, parseBoardKey } from '../../../../src/api/quotes/quote-route.ts'
import { type ChannelCatalog, expandChannels } from '../../../../src/api/streams/channels.ts'
import { framePosition, quoteKey, quoteTexts, withPosition } from '../../../../src/api/streams/frames.ts'
import { channelSymbols, PRODUCT_ID_PATTERN } from '../../../../src/protocol/channel.ts'
import { quoteSnapshotFrame, quoteUpdateFrame } from '../../../../src/protocol/messages.ts'
import { formatQuote, type Quote } from '../../../../src/protocol/quote.ts'
import { joinStreamPositions, splitStreamPositions } from '../../../../src/protocol/stream-position.ts'

const quote = (more: Partial<Quote> = {}): string =>
  formatQuote(
    {
      asset_id: 7,
      symbol: 'AAPL',
      price: '189.500000000000000001',
      currency: 'USD',
      previous_close: null,
      change24h: null,
      market_state: null,
      open: null,
      high: null,
      low: null,
      volume: null,
      eps: null,
      pe_ratio: null,
      pe_as_of: null,
      provider: 'simulated',
      as_of: '2026-10-05T14:07:00Z',
      updated_at: '2026-10-05T14:07:30Z',
      ...more,
    },
    'cache',
    null,
  )

describe('quote frames', () => {
  test('D1 a frame is cut into the exact texts of its quotes, for any symbol', () => {
    const texts = [quote(), quote({ asset_id: 12, symbol: ']},{"\\"' }), quote({ asset_id: 3, symbol: '}' })]
    expect(quoteTexts(quoteUpdateFrame('b-1', texts))).toEqual(texts)
    expect(quoteTexts(quoteSnapshotFrame('b-1', texts))).toEqual(texts)
    expect(quoteTexts(quoteSnapshotFrame('b-1', []))).toEqual([])
    expect(quoteTexts('{"type":"pong"}')).toEqual([])
  })

  test('D3 the key of a quote is the id of its asset', () => {
    expect([quote(), quote({ asset_id: 12_345, symbol: '"asset_id":9}' })].map(quoteKey)).toEqual(['7', '12345'])
  })

  test('D2 the joined position replaces that of the quote board and leaves the quotes unchanged', () => {
    const frame = withPosition(quoteUpdateFrame('b-1', [quote()]), 'quotes:b-1,BTC-USD:c-9')
    expect(framePosition(frame)).toBe('quotes:b-1,BTC-USD:c-9')
    expect(quoteTexts(frame)).toEqual([quote()])
  })
})

describe('keys of quote boards', () => {
  test.each([
    [0, 'quotes'],
    [1, 'quotes.1'],
    [63, 'quotes.63'],
  ])('quote board %i has the key %s in a joined position, which is not a product id', (shard, key) => {
    expect(boardKey(shard)).toBe(key)
    expect(parseBoardKey(key)).toBe(shard)
    expect(PRODUCT_ID_PATTERN.test(key)).toBe(false)
    expect(splitStreamPositions(joinStreamPositions(new Map([[key, 'e-1']])))).toEqual(new Map([[key, 'e-1']]))
  })

  test.each(['BTC-USD', 'quotes.0', 'quotes.', 'quotes.AAPL', 'QUOTES-1'])(
    '%s is not the key of a quote board',
    (key) => {
      expect(parseBoardKey(key)).toBeNull()
    },
  )
})

describe('D4 quote channels of a subscribe', () => {
  const catalog: ChannelCatalog = {
    active: ['BTC-USD'],
    offline: new Set(),
    boards: [
      { key: 'quotes', channel: 'quotes.*' },
      { key: 'quotes.1', channel: 'quotes.*' },
    ],
    quotes: new Map([
      ['AAPL', { key: 'quotes', channel: 'quotes.AAPL' }],
      ['LDO.MI', { key: 'quotes.1', channel: 'quotes.LDO.MI' }],
      ['btc-usd', { key: 'quotes.1', channel: 'quotes.BTC' }],
      ['BTC', { key: 'quotes.1', channel: 'quotes.BTC' }],
      ['SHEL', { code: 'ambiguous_symbol', message: 'means several' }],
      ['NONE', { code: 'unknown_symbol', message: 'no asset' }],
    ]),
    signedIn: false,
  }

  test('P8 portfolio and asset channels need a signed-in user and belong to one object', () => {
    for (const name of ['portfolio', 'asset.LDO.MI'])
      expect(expandChannels(['quotes.AAPL', name], catalog)).toMatchObject({
        code: 'unauthorized',
        field: 'channels/1',
      })
    expect(expandChannels(['portfolio', 'asset.LDO.MI', 'quotes.AAPL'], { ...catalog, signedIn: true })).toEqual(
      new Map([
        ['portfolio', ['portfolio', 'asset.LDO.MI']],
        ['quotes', ['quotes.AAPL']],
      ]),
    )
  })

  test('the symbols to resolve are those of the quote channels, as written, without duplicates', () => {
    expect(
      channelSymbols(
        ['quotes.AAPL', 'candles.BTC-USD.ONE_DAY', 'quotes.LDO.MI', 'quotes.AAPL', 'quotes.*', 'asset.MSFT'],
        'quotes',
      ),
    ).toEqual(['AAPL', 'LDO.MI'])
  })

  test('each quote channel goes to its quote board under the asset’s own symbol, beside candles', () => {
    const names = ['quotes.AAPL', 'quotes.LDO.MI', 'quotes.btc-usd', 'quotes.BTC', 'candles.BTC-USD.ONE_DAY']
    expect(expandChannels(names, catalog)).toEqual(
      new Map([
        ['quotes', ['quotes.AAPL']],
        ['quotes.1', ['quotes.LDO.MI', 'quotes.BTC']],
        ['BTC-USD', ['candles.BTC-USD.ONE_DAY']],
      ]),
    )
  })

  test('quotes.* stands for every quote board', () => {
    expect(expandChannels(['quotes.*'], catalog)).toEqual(
      new Map([
        ['quotes', ['quotes.*']],
        ['quotes.1', ['quotes.*']],
      ]),
    )
  })

  test.each([
    ['quotes.SHEL', 'ambiguous_symbol'],
    ['quotes.NONE', 'unknown_symbol'],
    ['quotes.NEVER-ASKED', 'unknown_symbol'],
    ['quotes.', 'unknown_channel'],
    ["quotes.'; DROP TABLE assets", 'unknown_channel'],
    ['quotes', 'unknown_channel'],
  ])('%s is not available: the whole subscribe is refused, and the error names the channel', (name, code) => {
    expect(expandChannels(['quotes.AAPL', name], catalog)).toMatchObject({ code, field: 'channels/1' })
  })
})
