import { z } from 'zod'
import { PRODUCT_ID_PATTERN } from './protocol/channel.ts'
import { GRANULARITIES, type Granularity } from './protocol/granularity.ts'

const milliseconds = (fallback: number, min = 1) => z.coerce.number().int().min(min).default(fallback)
const count = (fallback: number, min = 1) => z.coerce.number().int().min(min).default(fallback)

const productList = (fallback: string) =>
  z
    .string()
    .default(fallback)
    .transform((text) =>
      text
        .split(',')
        .map((id) => id.trim())
        .filter((id) => id !== ''),
    )
    .pipe(
      z
        .array(z.string().regex(PRODUCT_ID_PATTERN, 'must hold product ids such as BTC-USD, divided by commas'))
        .max(500),
    )

/** `ONE_MINUTE=30d,FIVE_MINUTES=90d`: days that each granularity is kept in Postgres; one that is not named is kept. */
const retention = z
  .string()
  .default('ONE_MINUTE=90d,FIVE_MINUTES=365d')
  .transform((text, context) => {
    const days: Partial<Record<Granularity, number>> = {}
    for (const part of text.split(',').filter((p) => p.trim() !== '')) {
      const match = /^\s*([A-Z_]+)=(\d{1,5})d\s*$/.exec(part)
      const granularity = GRANULARITIES.find((name) => name === match?.[1])
      if (!match || !granularity) {
        context.addIssue({ code: 'custom', message: `"${part}" is not of the form GRANULARITY=DAYSd` })
        return z.NEVER
      }
      days[granularity] = Number(match[2])
    }
    return days
  })

const url = (protocols: string[], fallback: string) =>
  z
    .url({ protocol: new RegExp(`^(${protocols.join('|')})$`), error: `must be a URL of ${protocols.join(' or ')}` })
    .default(fallback)
    .transform((text) => text.replace(/\/$/, ''))

const optionalUrl = (protocols: string[]) =>
  z
    .url({ protocol: new RegExp(`^(${protocols.join('|')})$`), error: `must be a URL of ${protocols.join(' or ')}` })
    .transform((text) => text.replace(/\/$/, ''))
    .optional()

const origins = z
  .string()
  .default('')
  .transform((text) =>
    text
      .split(',')
      .map((origin) => origin.trim())
      .filter((origin) => origin !== ''),
  )
  .pipe(
    z.array(
      z.string().refine((text) => URL.canParse(text) && new URL(text).origin === text, {
        error: 'must hold origins such as https://example.com, divided by commas',
      }),
    ),
  )

const mailUrl = z.url({ protocol: /^https?$/ })

/** Every setting that the Worker reads, as it stands in the environment. Units and reasons stand beside the numbers. */
const schema = z
  .object({
    /** Whose market this is. Written on every candle; chosen once, by whoever starts Kerb. */
    EXCHANGE: z.enum(['coinbase', 'simulated']).default('coinbase'),
    COINBASE_WS_URL: url(['wss', 'ws'], 'wss://advanced-trade-ws.coinbase.com'),
    /** Advanced Trade REST: products and candles. */
    COINBASE_REST_URL: url(['https', 'http'], 'https://api.coinbase.com'),
    /** Exchange REST: trades, the only public one with trade ids as cursors. */
    COINBASE_EXCHANGE_URL: url(['https', 'http'], 'https://api.exchange.coinbase.com'),
    COINBASE_API_KEY: z.string().optional(),
    /** PEM; `\n` may stand for line ends. ES256 (`BEGIN EC PRIVATE KEY`) or Ed25519 (base64 or PKCS #8). */
    COINBASE_PRIVATE_KEY: z.string().optional(),

    /** The active products, and those whose feed is open without a viewer. */
    PRODUCTS: productList('BTC-USD,ETH-USD'),
    ALWAYS_ON: productList(''),

    /** A candle closes this long after its interval: Coinbase batches trades for up to 250 ms, and clocks differ. */
    CLOSE_GRACE_MS: milliseconds(1_000, 0),
    /** Trades older than this are never folded, the exchange's candle is taken instead. Bounds what a minute remembers. */
    TRADE_WINDOW_MS: milliseconds(2 * 3_600_000, 60_000),
    /** How long the feed stays open after the last viewer left. */
    FEED_LINGER_MS: milliseconds(60_000, 0),
    /** A feed that says nothing for this long is dead: heartbeats come once a second. */
    FEED_SILENCE_TIMEOUT_MS: milliseconds(10_000, 1_000),
    /** A connection attempt that takes longer is given up. */
    FEED_CONNECT_TIMEOUT_MS: milliseconds(10_000, 100),
    /** Redial pause: doubles from the first to the last with full jitter. */
    RECONNECT_MIN_MS: milliseconds(500),
    RECONNECT_MAX_MS: milliseconds(30_000),
    /** How many products may have an open feed at once; each pins an object (about 4 USD a month). */
    MAX_OPEN_FEEDS: count(50),

    /** Live state goes to SQLite this often; what is lost in between, the exchange's trades restore. */
    CHECKPOINT_INTERVAL_MS: milliseconds(5_000, 100),
    /** Closed or revised candles go to Postgres within this time or this many rows (briefs 003, 004). */
    FLUSH_CLOSED_MS: milliseconds(100),
    FLUSH_ROWS: count(50),
    /** Forming candles go to Postgres this often. */
    FLUSH_FORMING_MS: milliseconds(5_000, 100),

    /** Pages of 1,000 trades that one hole may cost; what is longer comes from the exchange's candles. */
    BACKFILL_PAGES: count(10, 0),
    /** A hole waits this long before REST is asked: messages that only changed places fill it by themselves. */
    BACKFILL_DELAY_MS: milliseconds(2_000, 0),
    /** The exchange's candle of a minute is taken this long after its end; its REST lags behind its trades. */
    RECONCILE_SETTLE_MS: milliseconds(60_000, 0),

    /** Channels of one `/ws` connection, and open sockets of one client on one product. */
    MAX_CHANNELS: count(200),
    MAX_SOCKETS_PER_CLIENT: count(50),
    /** Frames that an object keeps for readers that come back. */
    RESUME_FRAMES: count(1_000, 0),
    /** Frames that a reader may lack the ack of; from then on it gets the state of now when it acks, in one frame. */
    MAX_UNACKED_FRAMES: count(64),
    /** One that never acks gets a frame this often at most: whether it keeps up cannot be seen. */
    UNACKED_SEND_INTERVAL_MS: milliseconds(100, 0),
    /** One that never acks and says nothing for this long is let go: it may be gone without a word. */
    CONNECTION_IDLE_TIMEOUT_MS: milliseconds(600_000, 1_000),
    /** One that acks, and then lacks acks for this long while updates wait for it, is let go. */
    ACK_TIMEOUT_MS: milliseconds(60_000, 1_000),
    /** Yahoo; set to another address, all of Yahoo's hosts are looked for there. */
    YAHOO_URL: url(['https', 'http'], 'https://query2.finance.yahoo.com'),
    BINANCE_URL: url(['https', 'http'], 'https://api.binance.com'),
    TWELVEDATA_URL: url(['https', 'http'], 'https://api.twelvedata.com'),
    COINMARKETCAP_URL: url(['https', 'http'], 'https://pro-api.coinmarketcap.com'),
    /** Of Twelve Data: asked for stocks when Yahoo cannot answer. */
    STOCK_PROVIDER_API_KEY: z.string().optional(),
    /** Of CoinMarketCap: asked for crypto when the exchanges cannot answer. */
    CRYPTO_PROVIDER_API_KEY: z.string().optional(),
    /** Requests a minute to each provider, kept well under what it allows; Binance counts weight (6,000 a minute). */
    YAHOO_PER_MINUTE: count(60),
    COINBASE_PER_MINUTE: count(120),
    BINANCE_WEIGHT_PER_MINUTE: count(1_000),
    /** The least plans of the two: 8 and 30 requests a minute. */
    TWELVEDATA_PER_MINUTE: count(8),
    COINMARKETCAP_PER_MINUTE: count(30),
    /** Requests to one provider that may be under way at once. */
    PROVIDER_CONCURRENCY: count(2),
    /** A provider that has not answered by then has failed. */
    PROVIDER_TIMEOUT_MS: milliseconds(10_000, 100),
    /** Pause after a failure: doubles from the first to the last, with full jitter. */
    PROVIDER_BACKOFF_MIN_MS: milliseconds(1_000),
    PROVIDER_BACKOFF_MAX_MS: milliseconds(300_000),
    /** So many failures one after the other open the breaker, for so long; then one request is the probe. */
    BREAKER_FAILURES: count(5),
    BREAKER_OPEN_MS: milliseconds(60_000),

    /** Objects that the quotes are divided among: one holds some ten thousand. */
    QUOTE_SHARDS: count(1).pipe(z.number().max(64)),
    /** What is due is refreshed this often (brief 002: 15 s). */
    QUOTE_REFRESH_TICK_MS: milliseconds(15_000, 100),
    /** Longest that a request waits for a provider; then it is told that there is no price yet. */
    LOOKUP_TIMEOUT_MS: milliseconds(4_000),
    /** A price from an open feed is asked for this often at most, while somebody wants it. */
    FEED_PRICE_INTERVAL_MS: milliseconds(1_000, 50),
    /** Nobody is asked again about a symbol that no provider knows for so long. */
    UNKNOWN_SYMBOL_TTL_MS: milliseconds(600_000),
    /** Assets that requests for symbols nobody knew yet may add in a day. */
    NEW_ASSETS_PER_DAY: count(500, 0),
    /** Symbols of one request for many prices. */
    MAX_SYMBOLS: count(1_000),
    /** Assets whose price history one minute's cron loads or brings up to date. */
    HISTORY_PER_MINUTE: count(20),
    /** The key of whoever may have prices refreshed and act for users; and the one before it, while it is replaced. */
    SUPABASE_SERVICE_ROLE_KEY: z.string().min(16, 'must have 16 characters at least').optional(),
    SUPABASE_SERVICE_ROLE_KEY_PREVIOUS: z.string().min(16, 'must have 16 characters at least').optional(),
    /** Encrypts the signing keys of the built-in issuer in the database; without it and Supabase there are no accounts. */
    AUTH_SECRET: z.string().min(32, 'must have 32 characters at least').optional(),
    /** Where people find this Kerb, for links in mails; without it, the address that a request came to. */
    PUBLIC_URL: optionalUrl(['https', 'http']),
    /** The Supabase project that keeps the accounts instead of the built-in issuer, and the key that its API asks for. */
    SUPABASE_URL: optionalUrl(['https', 'http']),
    SUPABASE_ANON_KEY: z.string().optional(),
    /** Where its public keys are, if not below SUPABASE_URL. */
    SUPABASE_JWKS_URL: optionalUrl(['https', 'http']),
    /** Takes mails as JSON (`from`, `to`, `subject`, `text`) with the key as a bearer; `console` prints them instead. */
    MAIL_URL: z.union([z.literal('console'), mailUrl], 'must be a URL of https or http, or console').optional(),
    MAIL_API_KEY: z.string().optional(),
    MAIL_FROM: z.string().default('Kerb <kerb@localhost>'),
    /** A ticket for a socket opens one within this time. */
    TICKET_TTL_MS: milliseconds(30_000, 1_000),
    /** A portfolio that was read is kept up to date for this long after, without an open socket. */
    PORTFOLIO_ACTIVE_MS: milliseconds(120_000, 1_000),
    /** Pages of these origins may open sockets of users, beside our own; divided by commas. */
    WS_ALLOWED_ORIGINS: origins,
    /** Rows of one import, and its size. */
    MAX_IMPORT_ROWS: count(20_000),
    MAX_IMPORT_BYTES: count(10_000_000),
    CANDLE_RETENTION: retention,
    /** Days back that an audit makes up for: the exchange has the candles, and a week covers a long outage. */
    AUDIT_DAYS: count(7).pipe(z.number().max(30)),
    /** Days that the log of revisions is kept: what a candle was a year ago is asked when a report of then is. */
    REVISION_RETENTION_DAYS: count(365),
    /** Days that metrics are kept: some 20 rows a minute for each open feed. */
    METRIC_RETENTION_DAYS: count(14),
    /** What `/health` and the page tell as the running version. */
    VERSION: z.string().default('0.1.0'),
  })
  .superRefine((env, context) => {
    if ((env.COINBASE_API_KEY === undefined) !== (env.COINBASE_PRIVATE_KEY === undefined))
      context.addIssue({
        code: 'custom',
        path: [env.COINBASE_API_KEY === undefined ? 'COINBASE_API_KEY' : 'COINBASE_PRIVATE_KEY'],
        message: 'is missing: COINBASE_API_KEY and COINBASE_PRIVATE_KEY go together',
      })
    if (env.SUPABASE_URL !== undefined && env.SUPABASE_ANON_KEY === undefined)
      context.addIssue({ code: 'custom', path: ['SUPABASE_ANON_KEY'], message: 'is missing: SUPABASE_URL needs it' })
    if (env.SUPABASE_JWKS_URL !== undefined && env.SUPABASE_URL === undefined)
      context.addIssue({ code: 'custom', path: ['SUPABASE_URL'], message: 'is missing: SUPABASE_JWKS_URL needs it' })
    for (const id of env.ALWAYS_ON)
      if (!env.PRODUCTS.includes(id))
        context.addIssue({ code: 'custom', path: ['ALWAYS_ON'], message: `names ${id}, which PRODUCTS does not` })
  })

export type Settings = z.output<typeof schema>

/** Settings that cannot be used; `message` names each variable and what is wrong with it. */
export class SettingsError extends Error {}

const parsedSettings = new WeakMap<object, Settings>()

/**
 * The environment as typed settings, parsed once per environment. Empty text counts as not set.
 * @throws SettingsError naming every variable that is missing or malformed.
 */
export function readSettings(env: object): Settings {
  const known = parsedSettings.get(env)
  if (known) return known
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => typeof value === 'string' && value !== ''))
  const result = schema.safeParse(given)
  if (!result.success)
    throw new SettingsError(result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '))
  parsedSettings.set(env, result.data)
  return result.data
}
