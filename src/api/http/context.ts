import type { Context } from 'hono'
import type { User } from '../../auth/verifier.ts'
import type { RequestDatabase } from '../../db/client.ts'

/**
 * Hono's environment: the Worker's bindings, the request's id for logs and problems, its database and, only behind
 * `requireUser` and `requireSignIn`, the signed-in user.
 */
export type AppEnv = { Bindings: Env; Variables: { requestId: string; db: RequestDatabase; user: User } }

/**
 * The parts of a request that a lookup of a symbol needs. `client` is the client's address, whose rate limit its requests
 * to providers count against.
 */
export type LookupScope = { env: Env; db: RequestDatabase; client: string }

/** The parts of a signed-in user's request that commands need. */
export type UserRequest = LookupScope & { user: User }

/** The client's address as Cloudflare reports it; `local` for a request from inside the Worker. */
export const clientAddress = (c: Context<AppEnv>): string => c.req.header('cf-connecting-ip') ?? 'local'

export const lookupScope = (c: Context<AppEnv>): LookupScope => ({ env: c.env, db: c.var.db, client: clientAddress(c) })

/** Only behind `requireUser` or `requireSignIn`. */
export const userRequest = (c: Context<AppEnv>): UserRequest => ({ ...lookupScope(c), user: c.var.user })
