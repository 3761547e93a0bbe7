import type { ObjectContext } from '../object-context.ts'

/** Valid tickets of one user; the oldest is dropped beyond that. */
const MAX_TICKETS = 20

const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')

/** The stored form of a ticket, which opens nothing. */
const hashTicket = async (ticket: string): Promise<string> =>
  base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(ticket))))

type Ticket = { digest: string; expires: number; until: number }

const TICKETS_KEY = 'tickets'

/** Tickets for sockets: each opens one, once, within a short time. Times are unix milliseconds. */
export class PortfolioTickets {
  readonly #context: ObjectContext

  constructor(context: ObjectContext) {
    this.#context = context
  }

  #readTickets(): Ticket[] {
    return this.#context.storage.kv.get<Ticket[]>(TICKETS_KEY) ?? []
  }

  /** Issues a ticket of 256 random bits for a session that ends at `until`. */
  async issue(until: number): Promise<string> {
    const now = this.#context.now()
    const ticket = base64url(crypto.getRandomValues(new Uint8Array(32)))
    const digest = await hashTicket(ticket)
    const valid = this.#readTickets().filter(({ expires }) => expires > now)
    const added = { digest, expires: Math.min(now + this.#context.settings.TICKET_TTL_MS, until), until }
    this.#context.storage.kv.put(TICKETS_KEY, [...valid.slice(1 - MAX_TICKETS), added])
    return ticket
  }

  /** Uses up a ticket, and returns the end of its session; null for one that is unknown, expired or used. */
  async redeem(ticket: string): Promise<number | null> {
    const digest = await hashTicket(ticket)
    const tickets = this.#readTickets()
    const found = tickets.find((each) => each.digest === digest)
    if (found === undefined) return null
    this.#context.storage.kv.put(
      TICKETS_KEY,
      tickets.filter((each) => each !== found),
    )
    return found.expires > this.#context.now() ? found.until : null
  }

  /** Voids all tickets. */
  clear(): void {
    if (this.#readTickets().length > 0) this.#context.storage.kv.delete(TICKETS_KEY)
  }
}
