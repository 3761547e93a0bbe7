import type { Settings } from '../src/config.ts'

/** A Durable Object's clock (unix milliseconds), its background work and its log. */
export type WorkContext = {
  now(): number
  /** Lets work go on between events. Logs `work_failed` if it rejects. */
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

/** What every part of a Durable Object shares. */
export type ObjectContext = WorkContext & {
  settings: Settings
  storage: DurableObjectStorage
  /** Sets the alarm anew, after something has become due. */
  schedule(): void
}
