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

/** Tickets for sockets: each opens one, once, within a short time. Times are unix milliseconds. */
export class PortfolioTickets {
  readonly #sql: SqlStorage
  /** See TICKET_MS. */
  readonly #life: number

  constructor(sql: SqlStorage, life: number) {
    this.#sql = sql
    this.#life = life
    sql.exec(
      `CREATE TABLE IF NOT EXISTS tickets (
         digest TEXT PRIMARY KEY, expires INTEGER NOT NULL, until INTEGER NOT NULL
       ) WITHOUT ROWID`,
    )
  }

  /** A ticket of 256 random bits, for who was let in until `until`. */
  async issue(until: number, now: number): Promise<string> {
    const ticket = base64url(crypto.getRandomValues(new Uint8Array(32)))
    const digest = await digestOf(ticket)
    this.#sql.exec(
      `DELETE FROM tickets WHERE expires <= ?
         OR digest NOT IN (SELECT digest FROM tickets ORDER BY expires DESC LIMIT ?)`,
      now,
      MAX_TICKETS - 1,
    )
    this.#sql.exec(
      'INSERT INTO tickets (digest, expires, until) VALUES (?, ?, ?)',
      digest,
      Math.min(now + this.#life, until),
      until,
    )
    return ticket
  }

  /** Until when who brings a ticket is let in; null: it is none, is over or was used. It is used up by this. */
  async redeem(ticket: string, now: number): Promise<number | null> {
    const digest = await digestOf(ticket)
    const [found] = this.#sql.exec<{ expires: number; until: number }>(
      'DELETE FROM tickets WHERE digest = ? RETURNING expires, until',
      digest,
    )
    return found && found.expires > now ? found.until : null
  }

  /** No ticket that is out opens anything any more. */
  clear(): void {
    this.#sql.exec('DELETE FROM tickets')
  }
}
