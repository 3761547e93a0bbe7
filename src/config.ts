import { z } from 'zod'
import { perEnv } from './per-env.ts'
import { PRODUCT_ID_PATTERN } from './protocol/channel.ts'
import { GRANULARITIES, type Granularity } from './protocol/granularity.ts'
import { type KeySetting, type LimitSetting, PROVIDER_REGISTRY, type UrlSetting } from './providers/registry.ts'
import { HOUR_MS, MINUTE_MS } from './time.ts'

const count = (fallback: number, min = 1) => z.coerce.number().int().min(min).default(fallback)
const milliseconds = count

const splitList = (text: string): string[] =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')

const productList = (fallback: string) =>
  z
    .string()
    .default(fallback)
    .transform(splitList)
    .pipe(
      z
        .array(z.string().regex(PRODUCT_ID_PATTERN, 'must be a comma-separated list of product ids such as BTC-USD'))
        .max(500),
    )

const origins = z
  .string()
  .default('')
  .transform(splitList)
  .pipe(
    z.array(
      z.string().refine((text) => URL.canParse(text) && new URL(text).origin === text, {
        error: 'must be a comma-separated list of origins such as https://example.com',
      }),
    ),
  )

/** `ONE_MINUTE=30d,FIVE_MINUTES=90d`: days by granularity; a granularity that is not named is stored forever. */
const retention = z
  .string()
  .default('ONE_MINUTE=90d,FIVE_MINUTES=365d')
  .transform((text, context) => {
    const days: Partial<Record<Granularity, number>> = {}
    for (const part of splitList(text)) {
      const match = /^([A-Z_]+)=(\d{1,5})d$/.exec(part)
      const granularity = GRANULARITIES.find((name) => name === match?.[1])
      if (!match || !granularity) {
        context.addIssue({ code: 'custom', message: `"${part}" must have the form GRANULARITY=DAYSd` })
        return z.NEVER
      }
      days[granularity] = Number(match[2])
    }
    return days
  })

const optionalUrl = (...protocols: string[]) =>
  z
    .url({ protocol: new RegExp(`^(${protocols.join('|')})$`), error: `must be a URL of ${protocols.join(' or ')}` })
    .transform((text) => text.replace(/\/$/, ''))
    .optional()
const httpUrl = (fallback: string) => optionalUrl('https', 'http').default(fallback)

const secret = (minLength: number) => z.string().min(minLength, `must have at least ${minLength} characters`).optional()

/** The URL, the rate limit and the API key of each provider of quotes. */
function providerSettings() {
  const settings: Record<string, z.ZodType> = {}
  for (const { urlSetting, defaultUrl, limitSetting, defaultLimit, keySetting } of Object.values(PROVIDER_REGISTRY)) {
    settings[urlSetting] = httpUrl(defaultUrl)
    settings[limitSetting] = count(defaultLimit)
    if (keySetting !== null) settings[keySetting] = z.string().optional()
  }
  return settings as { [K in UrlSetting]: ReturnType<typeof httpUrl> } & {
    [K in LimitSetting]: ReturnType<typeof count>
  } & {
    [K in KeySetting]: z.ZodOptional<z.ZodString>
  }
}

/**
 * Every setting that the Worker reads from its environment, in the order of `.dev.vars.example`. Comments give the units
 * and the reasons for the defaults.
 */
const schema = z
  .object({
    /** Whose market the candles are of, and part of every candle's key. Never changes for a database. */
    EXCHANGE: z.enum(['coinbase', 'simulated']).default('coinbase'),
    /** Advanced Trade WebSocket: live trades. */
    COINBASE_WS_URL: optionalUrl('wss', 'ws').default('wss://advanced-trade-ws.coinbase.com'),
    /** Exchange REST: trades. The only public API that pages by trade id. */
    COINBASE_EXCHANGE_URL: httpUrl('https://api.exchange.coinbase.com'),
    COINBASE_API_KEY: z.string().optional(),
    /** ES256 as PEM, where `\n` may stand for a line end, or Ed25519 as base64 or PKCS #8 PEM. */
    COINBASE_PRIVATE_KEY: z.string().optional(),

    /** The active products, and those whose feed stays open without a viewer. */
    PRODUCTS: productList('BTC-USD,ETH-USD'),
    ALWAYS_ON: productList(''),

    /** A candle closes this long after its interval: Coinbase batches trades for up to 250 ms, and clocks differ. */
    CLOSE_GRACE_MS: milliseconds(1_000, 0),
    /** An older trade does not change its candle; the exchange's candle does. Bounds the memory of a minute. */
    TRADE_WINDOW_MS: milliseconds(2 * HOUR_MS, MINUTE_MS),
    /** The feed stays open this long after the last viewer left. */
    FEED_LINGER_MS: milliseconds(MINUTE_MS, 0),
    /** A feed without a message for this long is dead: heartbeats come once a second. */
    FEED_SILENCE_TIMEOUT_MS: milliseconds(10_000, 1_000),
    FEED_CONNECT_TIMEOUT_MS: milliseconds(10_000, 100),
    /** Bounds of the exponential backoff before a feed reconnects. */
    RECONNECT_MIN_MS: milliseconds(500),
    RECONNECT_MAX_MS: milliseconds(30_000),
    /** Most open feeds; each keeps an object in memory (about 4 USD a month). */
    MAX_OPEN_FEEDS: count(50),
    /** Interval of the checkpoints in SQLite; after a crash, the exchange's trades fill in the rest. */
    CHECKPOINT_INTERVAL_MS: milliseconds(5_000, 100),
    /** Pages of 1,000 trades to backfill one gap with; a longer gap is filled with the exchange's candles. */
    BACKFILL_PAGES: count(10, 0),
    /** A gap is backfilled this long after it appeared: messages out of order fill it by themselves. */
    BACKFILL_DELAY_MS: milliseconds(2_000, 0),
    /** The exchange's candle of a minute is read this long after its end: its REST API lags behind its trades. */
    RECONCILE_SETTLE_MS: milliseconds(MINUTE_MS, 0),

    /** Closed or revised candles are written to Postgres within this time or at this many rows. */
    FLUSH_CLOSED_MS: milliseconds(100),
    FLUSH_ROWS: count(50),
    /** Forming candles are written to Postgres this often. */
    FLUSH_FORMING_MS: milliseconds(5_000, 100),
    CANDLE_RETENTION: retention,
    /** Days back that the audit makes up for after an outage: the exchange still has the candles. */
    AUDIT_DAYS: count(7).pipe(z.number().max(30)),
    /** Revisions answer what a candle was at the time of an old report. */
    REVISION_RETENTION_DAYS: count(365),
    /** About 20 rows a minute for each open feed. */
    METRIC_RETENTION_DAYS: count(14),
    /** A request that repeats its Idempotency-Key within this time gets the first response again. */
    IDEMPOTENCY_RETENTION_DAYS: count(1),

    ...providerSettings(),
    /** Most concurrent requests to one provider. */
    PROVIDER_CONCURRENCY: count(2),
    PROVIDER_TIMEOUT_MS: milliseconds(10_000, 100),
    /** Bounds of the exponential backoff after a failure. */
    PROVIDER_BACKOFF_MIN_MS: milliseconds(1_000),
    PROVIDER_BACKOFF_MAX_MS: milliseconds(300_000),
    /** Consecutive failures that open the circuit breaker, and how long it stays open before one request probes. */
    BREAKER_FAILURES: count(5),
    BREAKER_OPEN_MS: milliseconds(MINUTE_MS),
    /** Objects that share the quotes: one holds about ten thousand. */
    QUOTE_SHARDS: count(1).pipe(z.number().max(64)),
    /** Due quotes are refreshed this often. */
    QUOTE_REFRESH_TICK_MS: milliseconds(15_000, 100),
    /** Longest wait of a request for the first price of an asset. */
    LOOKUP_TIMEOUT_MS: milliseconds(4_000),
    /** Prices from an open candle feed are read at most this often, and only while they are wanted. */
    FEED_PRICE_INTERVAL_MS: milliseconds(1_000, 50),
    /** The providers are not asked about an unknown symbol again for this long. */
    UNKNOWN_SYMBOL_TTL_MS: milliseconds(600_000),
    /** Most assets a day that requests for unknown symbols add. */
    NEW_ASSETS_PER_DAY: count(500, 0),
    /** Most symbols in one batch request. */
    MAX_SYMBOLS: count(1_000),
    /** Assets whose price history cron loads or updates in a minute. */
    HISTORY_PER_MINUTE: count(20),
    /** The service key, which refreshes prices and any portfolio, and the key before it during a rotation. */
    SUPABASE_SERVICE_ROLE_KEY: secret(16),
    SUPABASE_SERVICE_ROLE_KEY_PREVIOUS: secret(16),

    /** Most channels of one `/ws` connection. */
    MAX_CHANNELS: count(200),
    /** Most open sockets of one client on one product. */
    MAX_SOCKETS_PER_CLIENT: count(50),
    /** Frames that an object stores for connections that resume. */
    RESUME_FRAMES: count(1_000, 0),
    /** A connection with more unacknowledged frames gets one frame with the latest state at its next ack. */
    MAX_UNACKED_FRAMES: count(64),
    /** Least time between frames to a connection that never acks: it may be slow. */
    UNACKED_SEND_INTERVAL_MS: milliseconds(100, 0),
    /** A connection that never acks and sends nothing for this long is closed: it may be gone. */
    CONNECTION_IDLE_TIMEOUT_MS: milliseconds(600_000, 1_000),
    /** A connection that acks is closed when an ack is overdue for this long. */
    ACK_TIMEOUT_MS: milliseconds(MINUTE_MS, 1_000),
    /** The version in `/health`, `/openapi.json` and the pages. */
    VERSION: z.string().default('0.1.0'),

    /** Encrypts the signing keys of the built-in accounts. Without it and without Supabase, nobody can sign in. */
    AUTH_SECRET: secret(32),
    /** The public URL, for links in mails; by default the URL of the request. */
    PUBLIC_URL: optionalUrl('https', 'http'),
    /** A Supabase project in place of the built-in accounts, and the public key of its API. */
    SUPABASE_URL: optionalUrl('https', 'http'),
    SUPABASE_ANON_KEY: z.string().optional(),
    /** The project's public signing keys, if not at their usual path below SUPABASE_URL. */
    SUPABASE_JWKS_URL: optionalUrl('https', 'http'),
    /** Accepts mails as JSON (`from`, `to`, `subject`, `text`) with the key as a bearer token; `console` prints them. */
    MAIL_URL: z
      .union([z.literal('console'), z.url({ protocol: /^https?$/ })], 'must be a URL of https or http, or console')
      .optional(),
    MAIL_API_KEY: z.string().optional(),
    MAIL_FROM: z.string().default('Kerb <kerb@localhost>'),

    /** Other origins whose pages may open sockets of users. */
    WS_ALLOWED_ORIGINS: origins,
    /** A ticket expires after this time. */
    TICKET_TTL_MS: milliseconds(30_000, 1_000),
    /** A portfolio without an open socket stays live this long after it was read. */
    PORTFOLIO_ACTIVE_MS: milliseconds(120_000, 1_000),
    MAX_IMPORT_ROWS: count(20_000),
    MAX_IMPORT_BYTES: count(10_000_000),
  })
  .superRefine((env, context) => {
    const report = (setting: string, message: string) => context.addIssue({ code: 'custom', path: [setting], message })
    if ((env.COINBASE_API_KEY === undefined) !== (env.COINBASE_PRIVATE_KEY === undefined))
      report(
        env.COINBASE_API_KEY === undefined ? 'COINBASE_API_KEY' : 'COINBASE_PRIVATE_KEY',
        'is missing: set both COINBASE_API_KEY and COINBASE_PRIVATE_KEY, or neither',
      )
    if (env.SUPABASE_URL !== undefined && env.SUPABASE_ANON_KEY === undefined)
      report('SUPABASE_ANON_KEY', 'is missing: SUPABASE_URL requires it')
    if (env.SUPABASE_JWKS_URL !== undefined && env.SUPABASE_URL === undefined)
      report('SUPABASE_URL', 'is missing: SUPABASE_JWKS_URL requires it')
    for (const id of env.ALWAYS_ON)
      if (!env.PRODUCTS.includes(id)) report('ALWAYS_ON', `contains ${id}, which is not in PRODUCTS`)
  })

export type Settings = z.output<typeof schema>

/** Invalid settings; `message` names each one and says what is wrong with it. */
class SettingsError extends Error {}

/**
 * The environment as typed settings, parsed once per environment. Empty text counts as not set.
 * @throws SettingsError naming every missing or malformed setting
 */
export const readSettings = perEnv((env: object): Settings => {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => typeof value === 'string' && value !== ''))
  const result = schema.safeParse(given)
  if (result.success) return result.data
  throw new SettingsError(result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '))
})
