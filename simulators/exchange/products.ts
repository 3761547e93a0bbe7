import { LISTINGS } from './listings.ts'

/** A product of the simulated exchange: how it is called, how it is priced and how busy it is. */
export type ProductSpec = {
  id: string
  baseName: string
  quoteName: string
  status: 'online' | 'offline' | 'delisted'
  /** Decimals of the price increment and of the base increment. */
  priceDecimals: number
  sizeDecimals: number
  /** Decimal text in the base currency. */
  minSize: string
  maxSize: string
  /** The level that the price moves around, in the quote currency. */
  price: number
  /** How much it moves: 1 for most, next to nothing for a coin that stands for a currency. */
  liveliness: number
  trades: TradePattern
}

/**
 * `seeded`: every block of `blockSeconds` has exactly `perBlock` trades, whose median size is `medianSize` in the base
 * currency. `manual`: only what a test appends, ids from `firstId` up. `none`: no trades at all.
 */
type TradePattern =
  | { kind: 'seeded'; blockSeconds: number; perBlock: number; medianSize: number }
  | { kind: 'manual'; firstId: number }
  | { kind: 'none' }

const BUSY_BLOCK_S = 60
const QUIET_BLOCK_S = 600

const seeded = (blockSeconds: number, perBlock: number, medianSize: number): TradePattern => ({
  kind: 'seeded',
  blockSeconds,
  perBlock,
  medianSize,
})

const QUOTE_NAMES: Readonly<Record<string, string>> = {
  EUR: 'Euro',
  GBP: 'British Pound',
  BTC: 'Bitcoin',
}

const product = (
  id: string,
  baseName: string,
  price: number,
  priceDecimals: number,
  maxSize: string,
  trades: TradePattern,
  more: Partial<ProductSpec> = {},
): ProductSpec => ({
  id,
  baseName,
  quoteName: QUOTE_NAMES[id.slice(id.indexOf('-') + 1)] ?? 'US Dollar',
  status: 'online',
  priceDecimals,
  sizeDecimals: 8,
  minSize: '0.00000001',
  maxSize,
  price,
  liveliness: 1,
  trades,
  ...more,
})

/** A coin that stands for a dollar moves with nothing, and against another currency as that does. */
export function livelinessOf(id: string): number {
  const [base, quote] = id.split('-') as [string, string]
  const dollars = (unit: string) => /^(USD|USDT|USDC|USD1|DAI)$/.test(unit)
  if (dollars(base)) return dollars(quote) ? 0.004 : 0.15
  return base === 'EURC' || base === 'PAXG' ? 0.15 : 1
}

/** The default market: price levels and increments of August 2026; ten products busier than the rest, one offline, one delisted. */
export const PRODUCTS: readonly ProductSpec[] = [
  product('BTC-USD', 'Bitcoin', 65_086, 2, '3400', seeded(BUSY_BLOCK_S, 60, 0.002)),
  product('ETH-USD', 'Ethereum', 1_919, 2, '42000', seeded(BUSY_BLOCK_S, 45, 0.03)),
  product('SOL-USD', 'Solana', 77.12, 2, '1274000', seeded(BUSY_BLOCK_S, 30, 1.2)),
  product('XRP-USD', 'XRP', 1.0411, 4, '11996772.8407292192545075', seeded(BUSY_BLOCK_S, 24, 90), {
    sizeDecimals: 6,
    minSize: '0.000001',
  }),
  product('DOGE-USD', 'Dogecoin', 0.0712, 5, '75000000', seeded(BUSY_BLOCK_S, 20, 800)),
  product('ADA-USD', 'Cardano', 0.19782, 5, '30176000', seeded(QUIET_BLOCK_S, 60, 300)),
  product('LINK-USD', 'Chainlink', 8.413, 3, '890000', seeded(QUIET_BLOCK_S, 40, 9)),
  product('LTC-USD', 'Litecoin', 54.37, 2, '60000', seeded(QUIET_BLOCK_S, 30, 0.8)),
  product('AVAX-USD', 'Avalanche', 6.58, 2, '500000', seeded(QUIET_BLOCK_S, 24, 12)),
  product('BTC-EUR', 'Bitcoin', 56_240, 2, '300', seeded(QUIET_BLOCK_S, 12, 0.0015)),
  product('NU-USD', 'NuCypher', 0.0281, 4, '10000000', { kind: 'none' }, { status: 'offline' }),
  product('DAI-USD', 'Dai', 0.9985, 4, '10514300', { kind: 'none' }, { status: 'delisted', sizeDecimals: 5 }),
  // A trade in about a minute, of some thirty dollars.
  ...LISTINGS.map(({ id, name, price, priceDecimals }) =>
    product(
      id,
      name,
      price,
      priceDecimals,
      '10000000',
      seeded(QUIET_BLOCK_S, 8, (id.endsWith('-BTC') ? 0.0005 : 30) / price),
      {
        liveliness: livelinessOf(id),
      },
    ),
  ),
]

/** A product without generated trades: a test appends them. Prices and sizes may have up to eight decimals. */
export const manualProduct = (id: string, more: Partial<ProductSpec> = {}): ProductSpec =>
  product(id, id.slice(0, id.indexOf('-')), 100, 8, '1000000', { kind: 'manual', firstId: 1 }, more)
