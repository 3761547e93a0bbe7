import type { ProviderQuote } from '../../../src/pricing/provider-quote.ts'
import { binanceProvider } from '../../../src/providers/binance.ts'
import { coinbaseProvider } from '../../../src/providers/coinbase-quotes.ts'
import { coinMarketCapProvider } from '../../../src/providers/coinmarketcap.ts'
import { twelveDataProvider } from '../../../src/providers/twelvedata.ts'
import { yahooProvider } from '../../../src/providers/yahoo.ts'
import { fixture } from '../../support/recordings.ts'
import { canned, contract, type Subject } from './contract.ts'
import { session, yahooBody } from './yahoo-answers.ts'

const AT = '2026-02-04T10:00:00.000Z'
const now = () => Date.parse(AT)
const none = {
  previous_close: null,
  change24h: null,
  market_state: null,
  market: null,
  open: null,
  high: null,
  low: null,
  volume: null,
  eps: null,
  pe_ratio: null,
}
const round: Pick<ProviderQuote, 'market_state' | 'market'> = { market_state: 'open', market: null }

// Prices as JSON text and the decimals parsed from them, for APIs that send text and for APIs that send numbers.
const numbers: Subject['priced']['ends'] = [
  ['244.60', '244.6'],
  ['0.1', '0.1'],
  ['1e-7', '0.0000001'],
  ['1.25e-9', '0.00000000125'],
  ['1.5e21', '1500000000000000000000'],
  ['129.0399932861328', '129.0399932861328'],
  ['0', null],
  ['-1.5', null],
  ['1e999', null],
  ['"244.6"', null],
  ['null', null],
  ['{"raw":1}', null],
]
const texts: Subject['priced']['ends'] = [
  ['"47174.97000000"', '47174.97'],
  ['"0.00000001"', '0.00000001'],
  ['"123456789012345678.123456789"', '123456789012345678.123456789'],
  ['"0.00000000"', null],
  ['"-1.5"', null],
  ['"NaN"', null],
  ['"1e5"', null],
  ['""', null],
]

const quotesOf = (result: unknown[]) => ({ quoteResponse: { result, error: null } })
const recorded = (file: string) => yahooBody(`quote-${file}.json`) as ReturnType<typeof quotesOf>
const [aapl, baba] = recorded('AAPL-BABA').quoteResponse.result as Record<string, unknown>[]
const aaplQuote: ProviderQuote = {
  id: 'AAPL',
  price: '244.6',
  currency: 'USD',
  previous_close: '241.53',
  change24h: '1.2710667',
  market_state: 'closed',
  market: 'NMS',
  open: '241.07',
  high: '245.41',
  low: '241',
  volume: '40896227',
  eps: '6.31',
  pe_ratio: '38.763866',
  as_of: '2025-02-14T21:00:00.000Z',
}
const yahooQuote = (id: string, more: Partial<ProviderQuote>): ProviderQuote =>
  ({ id, ...none, ...more }) as ProviderQuote

contract('Yahoo', {
  make(answer) {
    const { fetch, sent } = canned((url) => session(url) ?? answer(url))
    return { provider: yahooProvider({ fetch, url: 'https://query2.finance.yahoo.com', now }), sent }
  },
  quotes: [
    { name: 'a stock', body: recorded('AAPL'), expected: aaplQuote },
    {
      name: 'one that reports in another currency has no earnings here (P6)',
      body: recorded('AAPL-BABA'),
      expected: yahooQuote('BABA', {
        price: '124.73',
        currency: 'USD',
        previous_close: '119.54',
        change24h: '4.34164',
        market_state: 'closed',
        market: 'NYQ',
        open: '126.59',
        high: '126.8',
        low: '120.495',
        volume: '52086273',
        as_of: '2025-02-14T21:00:02.000Z',
      }),
    },
    {
      name: 'one of Milan while it is open',
      body: recorded('LDO.MI'),
      expected: yahooQuote('LDO.MI', {
        price: '33.38',
        currency: 'EUR',
        previous_close: '31.68',
        change24h: '5.366164',
        market_state: 'open',
        market: 'MIL',
        open: '33.3',
        high: '33.64',
        low: '32.86',
        volume: '3501283',
        eps: '1.22',
        pe_ratio: '27.360657',
        as_of: '2025-02-17T10:39:51.000Z',
      }),
    },
    {
      name: 'pence become pounds, earnings are in pounds already',
      body: recorded('LDO.L-made'),
      expected: yahooQuote('LDO.L', {
        price: '33.385',
        currency: 'GBP',
        previous_close: '31.68',
        change24h: '5.366164',
        market_state: 'open',
        market: 'LSE',
        open: '33.3',
        high: '33.64',
        low: '32.86',
        volume: '3501283',
        eps: '1.22',
        pe_ratio: '27.364754',
        as_of: '2025-02-17T10:39:51.000Z',
      }),
    },
    {
      name: 'a fund of stocks',
      body: recorded('QQQ'),
      expected: yahooQuote('QQQ', {
        price: '538.15',
        currency: 'USD',
        previous_close: '535.9',
        change24h: '0.41985443',
        market_state: 'closed',
        market: 'NGM',
        open: '536',
        high: '538.84',
        low: '535.67',
        volume: '17862572',
        eps: '15.344879',
        pe_ratio: '35.07033',
        as_of: '2025-02-14T21:00:01.000Z',
      }),
    },
    {
      name: 'a mutual fund has a price alone',
      body: recorded('0P000071W8.TO'),
      expected: yahooQuote('0P000071W8.TO', {
        price: '152.63',
        currency: 'CAD',
        previous_close: '152.74',
        change24h: '-0.072018206',
        market_state: 'closed',
        market: 'TOR',
        as_of: '2025-02-14T20:00:00.000Z',
      }),
    },
    {
      name: 'a coin: the change is of 24 hours, the volume is money',
      body: recorded('BTC-USD'),
      expected: yahooQuote('BTC-USD', {
        ...round,
        price: '96077.45',
        currency: 'USD',
        previous_close: '96137.88',
        change24h: '-1.2598631',
        open: '96137.88',
        high: '96581.79',
        low: '95934.96',
        as_of: '2025-02-17T10:53:00.000Z',
      }),
    },
    {
      name: 'a pair of currencies has no volume',
      body: recorded('EURUSD=X'),
      expected: yahooQuote('EURUSD=X', {
        price: '1.0489877',
        currency: 'USD',
        previous_close: '1.0495383',
        change24h: '-0.052457344',
        market_state: 'open',
        market: 'CCY',
        open: '1.0494281',
        high: '1.0508617',
        low: '1.0474495',
        as_of: '2025-02-17T10:54:43.000Z',
      }),
    },
    {
      name: 'a price in no currency is none',
      body: recorded('TSLA-fields-symbol-shortName'),
      expected: { id: 'TSLA', price: null, reason: 'no_price', detail: '' },
    },
    {
      name: 'a fund without a price',
      body: recorded('ADH'),
      expected: { id: 'ADH', price: null, reason: 'no_price', detail: '' },
    },
    {
      name: 'quoteType NONE',
      body: recorded('SIMP'),
      expected: { id: 'SIMP', price: null, reason: 'no_price', detail: '' },
    },
    {
      name: 'an unknown symbol',
      body: recorded('SIX'),
      expected: { id: 'SIX', price: null, reason: 'unknown', detail: '' },
    },
    {
      name: 'an unknown symbol of 2022',
      body: recorded('NONEXIST-2022'),
      expected: { id: 'NONEXIST', price: null, reason: 'unknown', detail: '' },
    },
  ],
  batch: {
    ids: ['AAPL', 'BABA'],
    body: (second) =>
      quotesOf(
        { good: [aapl, baba], odd: [{ ...baba, regularMarketPrice: 'much' }, 7, null, {}, aapl], absent: [aapl] }[
          second
        ],
      ),
  },
  priced: {
    id: 'AAPL',
    body: (price) => JSON.stringify(quotesOf([{ ...aapl, regularMarketPrice: '?' }])).replace('"?"', price),
    ends: numbers,
  },
  impossible: ['A,B', 'A B', '', 'x'.repeat(41), 'A?crumb=1', '../AAPL'],
  find: [
    {
      name: 'AAPL',
      body: recorded('AAPL'),
      expected: {
        id: 'AAPL',
        symbol: 'AAPL',
        name: 'Apple Inc.',
        type: 'stock',
        code: 'AAPL',
        currency: 'USD',
        isin: null,
      },
    },
    {
      name: 'LDO.L',
      body: recorded('LDO.L-made'),
      expected: {
        id: 'LDO.L',
        symbol: 'LDO.L',
        name: 'Leonardo S.p.a.',
        type: 'stock',
        code: 'LDO',
        currency: 'GBP',
        isin: null,
      },
    },
    {
      name: 'BTC-USD',
      body: recorded('BTC-USD'),
      expected: {
        id: 'BTC-USD',
        symbol: 'BTC-USD',
        name: 'Bitcoin USD',
        type: 'crypto',
        code: 'BTC',
        currency: 'USD',
        isin: null,
      },
    },
    {
      name: 'EURUSD=X',
      body: recorded('EURUSD=X'),
      expected: {
        id: 'EURUSD=X',
        symbol: 'EURUSD=X',
        name: 'EUR/USD',
        type: 'forex',
        code: 'EURUSD',
        currency: 'USD',
        isin: null,
      },
    },
    { name: 'AAP', body: recorded('AAPL'), expected: null },
    { name: 'SIX', body: recorded('SIX'), expected: null },
    { name: 'SIMP', body: recorded('SIMP'), expected: null },
    { name: 'AAPL', body: quotesOf([{ ...aapl, quoteType: 'OPTION' }]), expected: null },
    {
      name: 'BRK-B',
      body: quotesOf([{ ...aapl, symbol: 'BRK-B', longName: '' }]),
      expected: {
        id: 'BRK-B',
        symbol: 'BRK-B',
        name: 'Apple Inc.',
        type: 'stock',
        code: 'BRK-B',
        currency: 'USD',
        isin: null,
      },
    },
  ],
  daily: 'AAPL',
})

const ticker = (file: string) => JSON.parse(fixture(`binance/ticker24hr-${file}.json`)) as Record<string, unknown>
const [btcusdt, ethbtc, shibtry] = [
  ticker('BTCUSDT-2021-12-17'),
  ticker('ETHBTC-2019-02-28'),
  ticker('SHIBTRY-2022-02-01'),
]

contract('Binance', {
  make(answer) {
    const { fetch, sent } = canned(answer)
    return { provider: binanceProvider({ fetch, url: 'https://api.binance.com', now }), sent }
  },
  quotes: [
    {
      name: 'a pair in USDT is not one in dollars',
      body: [btcusdt],
      expected: {
        id: 'BTCUSDT',
        price: '47174.97',
        currency: 'USDT',
        previous_close: '48901.44',
        change24h: '-3.531',
        ...round,
        open: '48901.44',
        high: '49436.43',
        low: '46749.55',
        volume: '33136.69765',
        eps: null,
        pe_ratio: null,
        as_of: '2021-12-17T09:40:42.763Z',
      },
    },
    {
      name: 'a pair in BTC',
      body: [ethbtc],
      expected: {
        id: 'ETHBTC',
        price: '0.035641',
        currency: 'BTC',
        previous_close: '0.035868',
        change24h: '-0.633',
        ...round,
        open: '0.035868',
        high: '0.036003',
        low: '0.0341',
        volume: '380396.976',
        eps: null,
        pe_ratio: null,
        as_of: '2019-02-28T17:29:52.637Z',
      },
    },
    {
      name: 'a pair in lira',
      body: [shibtry],
      expected: {
        id: 'SHIBTRY',
        price: '0.0002922',
        currency: 'TRY',
        previous_close: '0.00028273',
        change24h: '3.342',
        ...round,
        open: '0.00028275',
        high: '0.000295',
        low: '0.0002818',
        volume: '621432087719',
        eps: null,
        pe_ratio: null,
        as_of: '2022-02-01T13:54:02.711Z',
      },
    },
    {
      name: 'a pair in nothing that is known',
      body: [{ ...btcusdt, symbol: 'BTCQQQ' }],
      expected: { id: 'BTCQQQ', price: null, reason: 'no_price', detail: '' },
    },
  ],
  batch: {
    ids: ['BTCUSDT', 'ETHBTC'],
    body: (second) =>
      ({ good: [ethbtc, btcusdt], odd: [{ ...ethbtc, lastPrice: 7 }, null, 'x', btcusdt], absent: [btcusdt] })[second],
  },
  priced: {
    id: 'BTCUSDT',
    body: (price) => JSON.stringify([{ ...btcusdt, lastPrice: '?' }]).replace('"?"', price),
    ends: texts,
  },
  impossible: ['BTC/USDT', 'btcusdt', '', 'A"B'],
  find: [
    {
      name: 'BTCUSDT',
      body: [btcusdt],
      expected: {
        id: 'BTCUSDT',
        symbol: 'BTCUSDT',
        name: 'BTC / USDT',
        type: 'crypto',
        code: 'BTC',
        currency: 'USDT',
        isin: null,
      },
    },
    { name: 'ETHBTC', body: [btcusdt], expected: null },
    { name: 'AAPL', body: [btcusdt], expected: null },
    { name: 'USDT', body: [btcusdt], expected: null },
  ],
  daily: 'BTCUSDT',
})

const products = JSON.parse(fixture('coinbase-rest/advanced-trade-products-2026-08-09-even.json.gz'))
  .products as Record<string, unknown>[]
const product = (id: string) => products.find((one) => one.product_id === id) as Record<string, unknown>
const btcusd = product('BTC-USD')
const other = products.find((one) => one.product_id !== 'BTC-USD' && one.status === 'online') as Record<string, unknown>

contract('Coinbase', {
  make(answer) {
    const { fetch, sent } = canned(answer)
    return { provider: coinbaseProvider({ fetch, url: 'https://api.coinbase.com', now }), sent }
  },
  quotes: [
    {
      name: 'a product, and its price of the day before from the change',
      body: { products },
      expected: {
        id: 'BTC-USD',
        price: '65086.18',
        currency: 'USD',
        previous_close: '65023.75',
        change24h: '0.09601107287722',
        ...round,
        open: null,
        high: '65252.99',
        low: '64675.22',
        volume: '2867.54532609',
        eps: null,
        pe_ratio: null,
        as_of: AT,
      },
    },
    {
      name: 'a product that is delisted still has an invalid price',
      body: { products },
      expected: { id: 'DAI-USD', price: null, reason: 'no_price', detail: '' },
    },
  ],
  batch: {
    ids: ['BTC-USD', String(other.product_id)],
    body: (second) => ({
      products: { good: [btcusd, other], odd: [{ ...other, price: 'much' }, btcusd], absent: [btcusd] }[second],
    }),
  },
  priced: {
    id: 'BTC-USD',
    body: (price) => JSON.stringify({ products: [{ ...btcusd, price: '?' }] }).replace('"?"', price),
    ends: texts,
  },
  impossible: ['BTC', 'btc-usd', 'BIP-20DEC30-CDE', ''],
  find: [
    {
      name: 'BTC-USD',
      body: { products: [btcusd] },
      expected: {
        id: 'BTC-USD',
        symbol: 'BTC',
        name: 'Bitcoin',
        type: 'crypto',
        code: 'BTC',
        currency: 'USD',
        isin: null,
      },
    },
    { name: 'DAI-USD', body: { products: [product('DAI-USD')] }, expected: null },
    { name: 'BTC-EUR', body: { products: [btcusd] }, expected: null },
    { name: 'BTC', body: { products: [btcusd] }, expected: null },
  ],
  daily: 'BTC-USD',
})

// The two that take a key: no answers were recorded, these are made in the form that they document.
const twelve = (symbol: string) => ({
  symbol,
  name: 'Apple Inc.',
  exchange: 'NASDAQ',
  mic_code: 'XNGS',
  currency: 'USD',
  datetime: '2026-02-03',
  timestamp: 1_770_128_940,
  last_quote_at: 1_770_152_340,
  open: '269.20001',
  high: '271.87500',
  low: '267.60999',
  close: '269.48001',
  volume: '64321457',
  previous_close: '270.01001',
  change: '-0.53000',
  percent_change: '-0.19629',
  average_volume: '48210000',
  is_market_open: false,
  fifty_two_week: { low: '169.21001', high: '288.62000' },
})
const notFound = {
  code: 404,
  message: '**symbol** not found: NONE. Please specify it correctly according to API Documentation.',
  status: 'error',
  meta: { symbol: 'NONE', interval: '', exchange: '' },
}
const twelveQuote: ProviderQuote = {
  id: 'AAPL',
  price: '269.48001',
  currency: 'USD',
  previous_close: '270.01001',
  change24h: '-0.19629',
  market_state: 'closed',
  market: 'XNGS',
  open: '269.20001',
  high: '271.875',
  low: '267.60999',
  volume: '64321457',
  eps: null,
  pe_ratio: null,
  as_of: '2026-02-03T20:59:00.000Z',
}

contract('Twelve Data', {
  make(answer) {
    const { fetch, sent } = canned(answer)
    const url = 'https://api.twelvedata.com'
    return { provider: twelveDataProvider({ fetch, url, now, key: 'secret-of-twelve' }), sent }
  },
  quotes: [
    { name: 'a stock', body: twelve('AAPL'), expected: twelveQuote },
    {
      name: 'an open market, and pence',
      body: { ...twelve('SHEL'), currency: 'GBp', is_market_open: true },
      expected: {
        ...twelveQuote,
        id: 'SHEL',
        currency: 'GBP',
        price: '2.6948001',
        previous_close: '2.7001001',
        open: '2.6920001',
        high: '2.71875',
        low: '2.6760999',
        market_state: 'open',
      },
    },
    { name: 'an unknown symbol', body: notFound, expected: { id: 'NONE', price: null, reason: 'unknown', detail: '' } },
  ],
  batch: {
    ids: ['AAPL', 'MSFT'],
    body: (second) => ({
      AAPL: twelve('AAPL'),
      MSFT: { good: twelve('MSFT'), odd: { ...twelve('MSFT'), close: [] }, absent: notFound }[second],
    }),
  },
  priced: {
    id: 'AAPL',
    body: (price) => JSON.stringify({ ...twelve('AAPL'), close: '?' }).replace('"?"', price),
    ends: texts,
  },
  impossible: ['A,B', 'BTC:X', '', '^GSPC'],
  find: [],
  daily: null,
  secret: 'secret-of-twelve',
})

const coin = (symbol: string, money: Record<string, unknown>, more: object = {}) => ({
  id: 1,
  name: symbol,
  symbol,
  slug: symbol,
  is_active: 1,
  cmc_rank: 1,
  ...more,
  quote: {
    USD: {
      price: 65_086.178_912_345_6,
      volume_24h: 2.8e10,
      percent_change_24h: 0.096_011_07,
      last_updated: '2026-02-04T09:59:00.000Z',
      ...money,
    },
  },
})
const coins = (data: Record<string, unknown>) => ({
  status: { timestamp: AT, error_code: 0, error_message: null, elapsed: 10, credit_count: 1, notice: null },
  data,
})
const coinQuote: ProviderQuote = {
  id: 'BTC-USD',
  ...none,
  ...round,
  price: '65086.1789123456',
  currency: 'USD',
  change24h: '0.09601107',
  as_of: '2026-02-04T09:59:00.000Z',
}

contract('CoinMarketCap', {
  make(answer) {
    const { fetch, sent } = canned(answer)
    const url = 'https://pro-api.coinmarketcap.com'
    return { provider: coinMarketCapProvider({ fetch, url, now, key: 'secret-of-cmc' }), sent }
  },
  quotes: [
    { name: 'a coin', body: coins({ BTC: [coin('BTC', {})] }), expected: coinQuote },
    {
      name: 'of several coins of a ticker the one of the best rank',
      body: coins({
        BTC: [
          coin('BTC', { price: 1 }, { cmc_rank: null }),
          coin('BTC', { price: 2 }, { cmc_rank: 4_000 }),
          coin('BTC', {}),
          coin('BTC', { price: 3 }, { cmc_rank: 0, is_active: 0 }),
        ],
      }),
      expected: coinQuote,
    },
    {
      name: 'several coins without a rank',
      body: coins({ BTC: [coin('BTC', {}, { cmc_rank: null }), coin('BTC', {}, { cmc_rank: null })] }),
      expected: { id: 'BTC-USD', price: null, reason: 'no_price', detail: '' },
    },
    {
      name: 'an unknown coin',
      body: coins({}),
      expected: { id: 'NOPE-USD', price: null, reason: 'unknown', detail: '' },
    },
  ],
  batch: {
    ids: ['BTC-USD', 'ETH-USD'],
    body: (second) =>
      coins({
        BTC: [coin('BTC', {})],
        ...{ good: { ETH: [coin('ETH', {})] }, odd: { ETH: [coin('ETH', { price: null })] }, absent: {} }[second],
      }),
  },
  priced: {
    id: 'BTC-USD',
    body: (price) => JSON.stringify(coins({ BTC: [coin('BTC', { price: '?' })] })).replace('"?"', price),
    ends: numbers,
  },
  asked: 'BTC',
  impossible: ['BTC', 'A,B-USD', '', 'btc-usd'],
  find: [],
  daily: null,
  secret: 'secret-of-cmc',
})
