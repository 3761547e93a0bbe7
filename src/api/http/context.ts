import type { User } from '../../auth/verifier.ts'

/**
 * What the routes of this Worker share: its bindings, the number of the request for logs and problems, and, behind
 * `requireUser` alone, who asks.
 */
export type AppEnv = { Bindings: Env; Variables: { requestId: string; user: User } }

/** Writes one structured line of log. Nothing secret may be among the fields. */
export const log = (event: string, fields: Record<string, unknown>): void =>
  console.log(JSON.stringify({ event, ...fields }))
