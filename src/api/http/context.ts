import type { User } from '../../auth/verifier.ts'
import type { RequestDatabase } from '../../db/client.ts'

/**
 * Hono's environment: the Worker's bindings, the request's id for logs and problems, its database and, behind `requireUser`
 * and `requireSignIn` alone, the signed-in user.
 */
export type AppEnv = { Bindings: Env; Variables: { requestId: string; db: RequestDatabase; user: User } }

/**
 * What a lookup of a symbol needs of a request. `client` is the client's address: it pays for requests to providers by its
 * own rate limit.
 */
export type LookupScope = { env: Env; db: RequestDatabase; client: string }

/** What a command needs of the request of a signed-in user. */
export type UserRequest = LookupScope & { user: User }
