import postgres from 'postgres'

/** Which of the two Hyperdrive bindings a client goes through, or the first one in the name of a user. */
export type Binding = 'live' | 'cached' | 'user'

const BINDING = Symbol('binding')

/** The role of migration 0012 that owns nothing: a superuser and the tables' owner pass by row level security. */
const USER_ROLE = 'kerb_user'

type Client = postgres.Sql<{ timestamptz: unknown; numeric: unknown }>

/** A client through HYPERDRIVE, which caches nothing: for every write, and for every read that must be current. */
export type LiveSql = Client & { readonly [BINDING]: 'live' }

/** A client through HYPERDRIVE_CACHED, whose answers may be 75 s old: for closed history alone. */
export type CachedSql = Client & { readonly [BINDING]: 'cached' }

/**
 * A transaction through HYPERDRIVE that runs as a user: row level security holds for it, and shows it this user's rows
 * alone. For everything that belongs to somebody.
 */
export type UserSql = Client & { readonly [BINDING]: 'user' }

type SqlOf<B extends Binding> = { live: LiveSql; cached: CachedSql; user: UserSql }[B]

/** The part of the environment that is needed here. */
type Databases = { HYPERDRIVE: { connectionString: string }; HYPERDRIVE_CACHED: { connectionString: string } }

/** `2024-01-06 20:00:31.52+01` as Postgres writes it -> `2024-01-06T19:00:31.52Z`, with every digit of the second. */
function parseTimestamp(text: string): string {
  const match = /^(\S+) (\d\d:\d\d:\d\d)(\.\d+)?([+-]\d\d)(:\d\d)?(?::\d\d)?$/.exec(text)
  if (!match) throw new Error(`Postgres sent a time of an unknown form: ${text}`)
  const [, day, second, fraction = '', hours, minutes = ':00'] = match
  return `${new Date(`${day}T${second}${hours}${minutes}`).toISOString().slice(0, 19)}${fraction}Z`
}

const trimZeros = (decimal: string): string => (decimal.includes('.') ? decimal.replace(/\.?0+$/, '') : decimal)

/**
 * Opens a client for one binding. TIMESTAMPTZ columns come back as RFC 3339 text in UTC, NUMERIC as decimal text
 * without zeros at the end.
 * The caller ends it; inside a Worker, `withLiveDatabase` and `withCachedDatabase` do that.
 */
export function openDatabase<B extends Binding>(binding: B, url: string): SqlOf<B> {
  const sql = postgres(url, {
    // One connection: the queries of one visit are sent one after the other without waiting, and share it.
    max: 1,
    fetch_types: false,
    prepare: true,
    // Seconds. The default of 30 would hold a flush, and with it an object, for too long.
    connect_timeout: 5,
    onnotice: () => {},
    types: {
      // 1184 and 1700 are the type ids of TIMESTAMPTZ and NUMERIC in every Postgres.
      timestamptz: {
        to: 1184,
        from: [1184],
        serialize: (value: unknown) => (value instanceof Date ? value.toISOString() : String(value)),
        parse: parseTimestamp,
      },
      numeric: { to: 1700, from: [1700], serialize: String, parse: trimZeros },
    },
  })
  return Object.assign(sql, { [BINDING]: binding }) as unknown as SqlOf<B>
}

async function withClient<B extends Binding, T>(
  binding: B,
  url: string,
  use: (sql: SqlOf<B>) => Promise<T>,
): Promise<T> {
  const sql = openDatabase(binding, url)
  try {
    return await use(sql)
  } finally {
    // An open client keeps an object awake. Seconds, after which what still runs is cut off.
    await sql.end({ timeout: 1 })
  }
}

/** Opens a client without cache, hands it to `use`, and ends it however that went. */
export const withLiveDatabase = <T>(env: Pick<Databases, 'HYPERDRIVE'>, use: (sql: LiveSql) => Promise<T>) =>
  withClient('live', env.HYPERDRIVE.connectionString, use)

/** Opens a client with cache, for closed history alone, hands it to `use`, and ends it however that went. */
export const withCachedDatabase = <T>(env: Pick<Databases, 'HYPERDRIVE_CACHED'>, use: (sql: CachedSql) => Promise<T>) =>
  withClient('cached', env.HYPERDRIVE_CACHED.connectionString, use)

/**
 * Opens a client without cache and, in it, one transaction as this user, hands that to `use`, and ends it: committed when
 * `use` is done, rolled back when it throws. Role and claims are those of the transaction alone (`SET LOCAL`): Hyperdrive
 * gives the connection to somebody else after it.
 */
export const withUserDatabase = <T>(
  env: Pick<Databases, 'HYPERDRIVE'>,
  user: { id: string },
  use: (sql: UserSql) => Promise<T>,
): Promise<T> =>
  withClient('live', env.HYPERDRIVE.connectionString, async (sql) => {
    const result = await sql.begin(async (transaction) => {
      const claims = JSON.stringify({ sub: user.id, role: USER_ROLE })
      await transaction`
        SELECT set_config('role', ${USER_ROLE}, TRUE), set_config('request.jwt.claims', ${claims}, TRUE)`
      return { of: await use(Object.assign(transaction, { [BINDING]: 'user' }) as unknown as UserSql) }
    })
    return result.of
  })

type Query<B extends Binding, A extends unknown[], R> = ((sql: SqlOf<B>, ...args: A) => Promise<R>) & {
  readonly binding: B
}

function query<B extends Binding, A extends unknown[], R>(
  binding: B,
  run: (sql: SqlOf<B>, ...args: A) => Promise<R>,
): Query<B, A, R> {
  const checked = async (sql: SqlOf<B>, ...args: A): Promise<R> => {
    if (sql[BINDING] !== binding) throw new TypeError(`this query runs through the ${binding} binding alone`)
    return run(sql, ...args)
  }
  return Object.assign(checked, { binding })
}

/** Makes a query of a function, to be run through HYPERDRIVE alone: another client is refused, by type and when run. */
export const liveQuery = <A extends unknown[], R>(run: (sql: LiveSql, ...args: A) => Promise<R>) => query('live', run)

/** Makes a query of a function, to be run through HYPERDRIVE_CACHED alone. */
export const cachedQuery = <A extends unknown[], R>(run: (sql: CachedSql, ...args: A) => Promise<R>) =>
  query('cached', run)

/** Makes a query of a function, to be run as a user alone. */
export const userQuery = <A extends unknown[], R>(run: (sql: UserSql, ...args: A) => Promise<R>) => query('user', run)
