import type { User } from '../../auth/verifier.ts'
import type { RequestDatabase } from '../../db/client.ts'

/**
 * The bindings and variables that all routes share: the request's id for logs and problems, its database and, behind
 * `requireUser` and `requireSignIn` alone, the signed-in user.
 */
export type AppEnv = { Bindings: Env; Variables: { requestId: string; db: RequestDatabase; user: User } }

/** What a command gets of the request, whichever route or page has received it. `client` is the client's address. */
export type AppRequest = { env: Env; db: RequestDatabase; client: string }

/** The same for a command of a signed-in user. */
export type UserRequest = AppRequest & { user: User }
