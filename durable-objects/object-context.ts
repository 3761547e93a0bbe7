/** What every part of a Durable Object shares: its clock (unix milliseconds), its background work and its log. */
export type ObjectContext = {
  now(): number
  /** Lets work go on between events. Logs `work_failed` if it rejects. */
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}
