import type { Canaries } from './canaries.ts'
import type { ReceivedResponse } from './http-client.ts'
import type { Random } from './random.ts'

/** Kinds of ids of a user's data, which another user may try. The newest come last. */
type Things = 'lots' | 'activities' | 'cursors' | 'keys' | 'positions' | 'spent'

/** The most ids remembered of each kind. */
const MAX_REMEMBERED = 400

/** A user: names, credentials, and ids of their data. */
export type Person = {
  tag: string
  /** Null before the first sign-in. */
  id: string | null
  email: string
  name: string
  password: string
  token: string
  cookies: Map<string, string>
  currencies: readonly string[]
  /** Custom assets. */
  customAssets: { symbol: string; name: string; currency: string }[]
  things: Record<Things, string[]>
  /** Idempotency keys of others that this user has sent, which are then stored for this user, too. */
  triedKeys: string[]
  /** The last exported file. */
  file: string | null
  /** False for a user who never enters data. */
  busy: boolean
}

export function newPerson(tag: string, random: Random, currencies: readonly string[], busy: boolean): Person {
  const own = (symbol: string) => ({
    symbol,
    name: `Own ${random.word()} of ${tag}`,
    currency: random.pick(currencies),
  })
  return {
    tag,
    id: null,
    email: `${random.word()}@${random.word(8)}.example`,
    name: `${tag} ${random.word()}`,
    password: `password ${random.word()}`,
    token: '',
    cookies: new Map(),
    currencies,
    // The first has the form of a market symbol, the second has not.
    customAssets: busy ? [own(`ZZ${random.symbol()}`), own(`Cabin ${random.word()}`)] : [],
    things: { lots: [], activities: [], cursors: [], keys: [], positions: [], spent: [] },
    triedKeys: [],
    file: null,
    busy,
  }
}

/** Adds the data of a user that exists before the first request. */
export function registerCanaries(all: Canaries, { tag, email, name, password, customAssets: assets }: Person): void {
  for (const text of [email, name, password, ...assets.flatMap(({ symbol, name: of }) => [symbol, of])])
    all.add(tag, text)
}

export function remember(person: Person, kind: Things, thing: string): void {
  const known = person.things[kind]
  if (known.includes(thing)) return
  known.push(thing)
  if (known.length > MAX_REMEMBERED) known.shift()
}

export function forget(person: Person, kind: Things, thing: string): void {
  const at = person.things[kind].indexOf(thing)
  if (at >= 0) person.things[kind].splice(at, 1)
}

/** Stores the cookies of a response. */
export function storeCookies(person: Person, { headers }: ReceivedResponse): void {
  for (const line of headers['set-cookie'] ?? []) {
    const [, name, value, rest] = /^([^=]+)=([^;]*);?(.*)$/.exec(line) as unknown as [string, string, string, string]
    if (/Max-Age=0\b/i.test(rest)) person.cookies.delete(name)
    else person.cookies.set(name, value)
  }
}

export const cookieHeader = ({ cookies }: Person): string =>
  [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')

/** Keys of amounts and ids that are private to a user, except within `prices`. */
const AMOUNTS = new Set(
  'quantity opened_quantity price fees cost invested present_value gain_loss day_change average_cost realised_gain income expenses proceeds value net_deposits total_investment'.split(
    ' ',
  ),
)
const IDS = new Set(['id', 'activity_id', 'lot_id', 'user_id', 'next_cursor', 'created_at'])

/**
 * Adds the private values in a message to its user as canaries: also values that they never sent, such as calculated
 * amounts and generated ids.
 */
export function learnCanaries(all: Canaries, person: Person, message: unknown): void {
  const note = (text: string) => all.add(person.tag, text)
  const walk = (value: unknown, of: string): void => {
    if (Array.isArray(value)) for (const each of value) walk(each, of)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return
    for (const [key, each] of Object.entries(value)) {
      if (typeof each === 'string' && (AMOUNTS.has(key) || IDS.has(key)) && of !== 'prices') note(each)
      if (typeof each === 'string' && key === 'next_cursor') remember(person, 'cursors', each)
      if (typeof each === 'string' && key === 'position') learnStreamPosition(all, person, each)
      walk(each, key)
    }
  }
  walk(message, '')
}

/** Adds the epoch of a portfolio position, alone or among positions of other channels. */
function learnStreamPosition(all: Canaries, person: Person, text: string): void {
  const at = /^(?:.*\bportfolio:)?([a-z0-9]{16})-\d+(?:,|$)/.exec(text)
  // A position of `/ws` names products and boards, too; the portfolio socket has only the portfolio's.
  if (!at || (text.includes(':') && !text.includes('portfolio:'))) return
  all.add(person.tag, at[1] as string)
  remember(person, 'positions', text)
}
