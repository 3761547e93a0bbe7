/** What the parts of a Durable Object share: its clock (unix milliseconds), its log, and the work that goes on between events. */
export type ObjectContext = {
  now(): number
  log(event: string, fields: Record<string, unknown>): void
  /** Logs the failure of a promise that nobody awaits. */
  track(work: Promise<unknown>): void
}
