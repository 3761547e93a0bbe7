/** What the routes of this Worker share: its bindings, and the number of the request for logs and problems. */
export type AppEnv = { Bindings: Env; Variables: { requestId: string } }

/** Writes one structured line of log. Nothing secret may be among the fields. */
export const log = (event: string, fields: Record<string, unknown>): void =>
  console.log(JSON.stringify({ event, ...fields }))
