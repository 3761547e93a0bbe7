import postgres from 'postgres'

/** The Hyperdrive binding of a client; `user` is the live one within a transaction as a user. */
export type Binding = 'live' | 'cached' | 'user'

const BINDING = Symbol('binding')

/** The role of migration 0012 that owns nothing: a superuser and the tables' owner bypass row level security. */
const USER_ROLE = 'kerb_user'

type Client = postgres.Sql<{ timestamptz: unknown; numeric: unknown; date: unknown }>

/** A client of HYPERDRIVE, which caches nothing: for writes, and for reads that must be current. */
export type LiveSql = Client & { readonly [BINDING]: 'live' }

/** A client of HYPERDRIVE_CACHED, whose results may be 75 s old: for closed history alone. */
export type CachedSql = Client & { readonly [BINDING]: 'cached' }

/**
 * A transaction of HYPERDRIVE that runs as a user: row level security shows it this user's rows alone. For all data of
 * users.
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

const serializeTime = (value: unknown): string => (value instanceof Date ? value.toISOString() : String(value))

const trimZeros = (decimal: string): string => (decimal.includes('.') ? decimal.replace(/\.?0+$/, '') : decimal)

/**
 * Opens a client for one binding, which the caller ends. TIMESTAMPTZ columns are returned as RFC 3339 text in UTC, NUMERIC
 * as decimal text without trailing zeros, DATE as `2025-12-03`.
 */
export function openDatabase<B extends Binding>(binding: B, url: string): SqlOf<B> {
  const sql = postgres(url, {
    // One connection, on which queries are pipelined.
    max: 1,
    fetch_types: false,
    prepare: true,
    // Seconds. The default of 30 would delay a write, and with it an object, for too long.
    connect_timeout: 5,
    onnotice: () => {},
    types: {
      // 1184, 1700 and 1082 are the type ids of TIMESTAMPTZ, NUMERIC and DATE in every Postgres.
      timestamptz: {
        to: 1184,
        from: [1184],
        serialize: serializeTime,
        parse: parseTimestamp,
      },
      numeric: { to: 1700, from: [1700], serialize: String, parse: trimZeros },
      date: { to: 1082, from: [1082], serialize: serializeTime, parse: String },
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
    // An open client keeps an object awake: after a second, running queries are cut off.
    await sql.end({ timeout: 1 })
  }
}

/** Opens a client without cache for `use`, and ends it. */
export const withLiveDatabase = <T>(env: Pick<Databases, 'HYPERDRIVE'>, use: (sql: LiveSql) => Promise<T>) =>
  withClient('live', env.HYPERDRIVE.connectionString, use)

/** Opens a client with cache for `use`, and ends it. For closed history alone. */
export const withCachedDatabase = <T>(env: Pick<Databases, 'HYPERDRIVE_CACHED'>, use: (sql: CachedSql) => Promise<T>) =>
  withClient('cached', env.HYPERDRIVE_CACHED.connectionString, use)

/**
 * Runs `use` in one transaction as a user: committed when `use` resolves, rolled back when it rejects. Role and claims hold
 * for the transaction alone (`SET LOCAL`), because Hyperdrive gives the connection to others after it.
 */
async function userTransaction<T>(sql: LiveSql, userId: string, use: (sql: UserSql) => Promise<T>): Promise<T> {
  const { result } = await sql.begin(async (transaction) => {
    const claims = JSON.stringify({ sub: userId, role: USER_ROLE })
    await transaction`
      SELECT set_config('role', ${USER_ROLE}, TRUE), set_config('request.jwt.claims', ${claims}, TRUE)`
    return { result: await use(Object.assign(transaction, { [BINDING]: 'user' }) as unknown as UserSql) }
  })
  return result as T
}

/** Opens a client without cache for one transaction as a user, and ends it. */
export const withUserDatabase = <T>(
  env: Pick<Databases, 'HYPERDRIVE'>,
  user: { id: string },
  use: (sql: UserSql) => Promise<T>,
): Promise<T> => withLiveDatabase(env, (sql) => userTransaction(sql, user.id, use))

/**
 * The database of one request: a single client without cache, opened by the first query and shared by everything that the
 * request reads and writes. Its one connection takes queries and transactions one after the other, so a transaction must
 * not wait for another query of the same request. Whoever creates it closes it.
 */
export class RequestDatabase {
  readonly #env: Pick<Databases, 'HYPERDRIVE'>
  #sql: LiveSql | null = null

  constructor(env: Pick<Databases, 'HYPERDRIVE'>) {
    this.#env = env
  }

  get live(): LiveSql {
    this.#sql ??= openDatabase('live', this.#env.HYPERDRIVE.connectionString)
    return this.#sql
  }

  /** Runs `use` in one transaction as a user. See `userTransaction`. */
  asUser<T>(userId: string, use: (sql: UserSql) => Promise<T>): Promise<T> {
    return userTransaction(this.live, userId, use)
  }

  /** Ends the client, if a query has opened one; what still runs after a second is cut off. */
  async close(): Promise<void> {
    await this.#sql?.end({ timeout: 1 })
  }
}

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

/** The first row of a query's result, or null. */
export const firstRow = async <R>(query: PromiseLike<readonly R[]>): Promise<R | null> => (await query)[0] ?? null

/** The value of a query with one row of one column. */
export const singleValue = async <T>(query: PromiseLike<readonly Readonly<Record<string, T>>[]>): Promise<T> =>
  Object.values((await query)[0]!)[0] as T

/** Runs these statements (false for none) in order, without waiting for one before sending the next. */
export async function runPipelined(
  statements: readonly (postgres.PendingQuery<postgres.Row[]> | false)[],
): Promise<void> {
  await Promise.all(statements.filter((statement) => statement !== false).map((statement) => statement.execute()))
}

/** SQLSTATE check_violation, which Postgres also reports for a row without a partition. */
const CHECK_VIOLATION = '23514'

/** Runs `write`; if a partition is missing, runs `addPartitions`, and `write` again. Other writes pay for no check. */
export async function writeWithPartitions<T>(
  write: () => Promise<T>,
  addPartitions: () => Promise<unknown>,
): Promise<T> {
  try {
    return await write()
  } catch (error) {
    if ((error as { code?: string }).code !== CHECK_VIOLATION) throw error
    await addPartitions()
    return write()
  }
}

/** Rows of one DELETE: keeps each well under the 60 s that Hyperdrive gives a query. */
const DELETE_BATCH_ROWS = 10_000

/**
 * Runs a DELETE of at most `limit` rows until it finds no more, or `batches` have run.
 * @returns the rows deleted, the batches run, and whether rows may be left
 */
export async function deleteInBatches(
  deleteRows: (limit: number) => PromiseLike<{ count: number }>,
  maxBatches: number,
): Promise<{ deleted: number; batches: number; done: boolean }> {
  let deleted = 0
  for (let batches = 0; batches < maxBatches; batches++) {
    const { count } = await deleteRows(DELETE_BATCH_ROWS)
    deleted += count
    if (count < DELETE_BATCH_ROWS) return { deleted, batches: batches + 1, done: true }
  }
  return { deleted, batches: maxBatches, done: false }
}

/** Makes a query for clients of HYPERDRIVE: any other client is refused, by type and at run time. */
export const liveQuery = <A extends unknown[], R>(run: (sql: LiveSql, ...args: A) => Promise<R>) => query('live', run)

/** Makes a query for clients of HYPERDRIVE_CACHED. */
export const cachedQuery = <A extends unknown[], R>(run: (sql: CachedSql, ...args: A) => Promise<R>) =>
  query('cached', run)

/** Makes a query for transactions as a user. */
export const userQuery = <A extends unknown[], R>(run: (sql: UserSql, ...args: A) => Promise<R>) => query('user', run)
