/** The digits a number needs to be a canary: shorter ones could match by chance. */
const MIN_DIGITS = 16
const MIN_TEXT_LENGTH = 10

/** The search hashes the end of a canary first: many have the same beginning (times, positions). */
const HASH_WINDOW = 8
const BITS = 1 << 24
const FACTOR = 31
const OUTGOING_FACTOR = Array.from({ length: HASH_WINDOW - 1 }).reduce<number>((power) => Math.imul(power, FACTOR), 1)

const isNumber = (text: string): boolean => /^-?\d+(\.\d+)?$/.test(text)

/** True if a text is long enough that no other user has it by chance. */
export const isDistinctive = (text: string): boolean =>
  isNumber(text) ? text.replace(/^-?[0.]*|\./g, '').length >= MIN_DIGITS : text.length >= MIN_TEXT_LENGTH

/**
 * A text, and its decoded forms that may reveal a canary: URL and HTML escapes, digits
 * in groups, base64. All in lower case, so that ids match in any case.
 */
function decodedViews(text: string): string[] {
  const views = [text]
  const plain = decodeEscapes(text)
  if (plain !== text) views.push(plain)
  if (/\d[ ,'\u00a0\u202f]\d/.test(plain)) views.push(plain.replaceAll(/(?<=\d)[ ,'\u00a0\u202f](?=\d)/g, ''))
  const decoded = [...plain.matchAll(/[A-Za-z0-9+/_-]{16,}/g)]
    .map(([coded]) => Buffer.from(coded, 'base64url').toString('latin1'))
    .filter((one) => /[ -~]{8}/.test(one))
  if (decoded.length > 0) views.push(decoded.join('\n'))
  return views.map((view) => view.toLowerCase())
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' }

function decodeEscapes(text: string): string {
  let plain = text
  if (plain.includes('%'))
    plain = plain.replaceAll(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
  if (plain.includes('&'))
    plain = plain.replaceAll(/&(?:#(\d+)|#x([0-9a-f]+)|([a-z]+));/gi, (whole, decimal, hex, name) =>
      name ? (ENTITIES[name] ?? whole) : String.fromCodePoint(Number.parseInt(decimal ?? hex, decimal ? 10 : 16)),
    )
  if (plain.includes('\\u'))
    plain = plain.replaceAll(/\\u([0-9a-f]{4})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
  return plain
}

/** An index of the canaries of all users, which finds those in a text. */
export function createCanaries() {
  const owners = new Map<string, string>()
  const byEnd = new Map<string, string[]>()
  /** A bit for the hash of each end: one test of it skips nearly every place of a text. */
  const ends = new Uint32Array(BITS / 32)

  const place = (hash: number): number => (hash ^ (hash >>> 15)) & (BITS - 1)

  function search(view: string, found: Map<string, string>): void {
    let hash = 0
    for (let i = 0; i < view.length; i++) {
      if (i >= HASH_WINDOW) hash -= Math.imul(view.charCodeAt(i - HASH_WINDOW), OUTGOING_FACTOR)
      hash = (Math.imul(hash, FACTOR) + view.charCodeAt(i)) | 0
      if (i < HASH_WINDOW - 1) continue
      const bit = place(hash)
      if (((ends[bit >>> 5] as number) & (1 << (bit & 31))) === 0) continue
      for (const text of byEnd.get(view.slice(i - HASH_WINDOW + 1, i + 1)) ?? [])
        if (view.startsWith(text, i - text.length + 1)) found.set(text, owners.get(text) as string)
    }
  }

  return {
    get size() {
      return owners.size
    },
    /**
     * Adds a text as a canary of `owner`. A text that is not distinctive is ignored; one that has an owner already
     * stays with that owner.
     */
    add(owner: string, value: string): void {
      const text = value.toLowerCase()
      if (!isDistinctive(text) || owners.has(text)) return
      owners.set(text, owner)
      const end = text.slice(-HASH_WINDOW)
      byEnd.set(end, [...(byEnd.get(end) ?? []), text])
      let hash = 0
      for (let i = 0; i < HASH_WINDOW; i++) hash = (Math.imul(hash, FACTOR) + end.charCodeAt(i)) | 0
      const bit = place(hash)
      ends[bit >>> 5] = (ends[bit >>> 5] as number) | (1 << (bit & 31))
    },
    /** The owner of a text, or null. */
    ownerOf: (text: string): string | null => owners.get(text.toLowerCase()) ?? null,
    /** The canaries in any decoded view of a text, and their owners. */
    find(text: string): Map<string, string> {
      const found = new Map<string, string>()
      for (const view of decodedViews(text)) search(view, found)
      return found
    },
  }
}
export type Canaries = ReturnType<typeof createCanaries>
