import type { User } from '../../auth/verifier.ts'

/** Hono's environment: the Worker's bindings, the request's id for logs and problems, and, behind `requireUser`, the user. */
export type AppEnv = { Bindings: Env; Variables: { requestId: string; user: User } }
