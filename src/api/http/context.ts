import type { User } from '../../auth/verifier.ts'

/**
 * What the routes of this Worker share: its bindings, the number of the request for logs and problems, and, behind
 * `requireUser` alone, who asks.
 */
export type AppEnv = { Bindings: Env; Variables: { requestId: string; user: User } }
