/** Tickets of one user that may be out at once; the oldest gives way. */
const MAX_TICKETS = 20

const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')

/** What is kept of a ticket: who reads the storage cannot use it. */
const digestOf = async (ticket: string): Promise<string> =>
  base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(ticket))))

type Ticket = { digest: string; expires: number; until: number }

/** Where they are kept: without any, nothing is stored, whoever asks. */
const TICKETS = 'tickets'

/** Tickets for sockets: each opens one, once, within a short time. Times are unix milliseconds. */
export class PortfolioTickets {
  readonly #kv: SyncKvStorage
  /** See TICKET_MS. */
  readonly #life: number

  constructor(kv: SyncKvStorage, life: number) {
    this.#kv = kv
    this.#life = life
  }

  #out(): Ticket[] {
    return this.#kv.get<Ticket[]>(TICKETS) ?? []
  }

  /** A ticket of 256 random bits, for who was let in until `until`. */
  async issue(until: number, now: number): Promise<string> {
    const ticket = base64url(crypto.getRandomValues(new Uint8Array(32)))
    const digest = await digestOf(ticket)
    const valid = this.#out().filter(({ expires }) => expires > now)
    const added = { digest, expires: Math.min(now + this.#life, until), until }
    this.#kv.put(TICKETS, [...valid.slice(1 - MAX_TICKETS), added])
    return ticket
  }

  /** Until when who brings a ticket is let in; null: it is none, is over or was used. It is used up by this. */
  async redeem(ticket: string, now: number): Promise<number | null> {
    const digest = await digestOf(ticket)
    const out = this.#out()
    const found = out.find((each) => each.digest === digest)
    if (found === undefined) return null
    this.#kv.put(
      TICKETS,
      out.filter((each) => each !== found),
    )
    return found.expires > now ? found.until : null
  }

  /** No ticket that is out opens anything any more. */
  clear(): void {
    if (this.#out().length > 0) this.#kv.delete(TICKETS)
  }
}
