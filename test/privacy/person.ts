import type { Canaries } from './canaries.ts'
import type { ReceivedResponse } from './http-client.ts'
import type { Random } from './random.ts'

/** Names of what a user has, which somebody else may try. The newest stand last. */
type Things = 'lots' | 'activities' | 'cursors' | 'keys' | 'positions' | 'spent'

/** So many of each are remembered. */
const MAX_REMEMBERED = 400

/** A user: what they are called, what they sign in with, and everything that is theirs alone. */
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
  /** Assets of their own: what nobody else can price. */
  customAssets: { symbol: string; name: string; currency: string }[]
  things: Record<Things, string[]>
  /** Keys of others that they have sent as their own: those are theirs, too, from then on. */
  triedKeys: string[]
  /** A file that was exported last. */
  file: string | null
  /** Whether they enter anything at all. */
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
    // The first looks like a symbol of the market, the second like none.
    customAssets: busy ? [own(`ZZ${random.symbol()}`), own(`Cabin ${random.word()}`)] : [],
    things: { lots: [], activities: [], cursors: [], keys: [], positions: [], spent: [] },
    triedKeys: [],
    file: null,
    busy,
  }
}

/** Notes everything of a user that is made up before the first request. */
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

/** Takes what an answer has the browser keep. */
export function storeCookies(person: Person, { headers }: ReceivedResponse): void {
  for (const line of headers['set-cookie'] ?? []) {
    const [, name, value, rest] = /^([^=]+)=([^;]*);?(.*)$/.exec(line) as unknown as [string, string, string, string]
    if (/Max-Age=0\b/i.test(rest)) person.cookies.delete(name)
    else person.cookies.set(name, value)
  }
}

export const cookieHeader = ({ cookies }: Person): string =>
  [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')

/** Amounts and ids that are somebody's own; those of prices (`prices`) are everybody's. */
const AMOUNTS = new Set(
  'quantity opened_quantity price fees cost invested present_value gain_loss day_change average_cost realised_gain income expenses proceeds value net_deposits total_investment'.split(
    ' ',
  ),
)
const IDS = new Set(['id', 'activity_id', 'lot_id', 'user_id', 'next_cursor', 'created_at'])

/**
 * Notes everything in a message to its user that is theirs alone: what they never sent, such as what was calculated of
 * their amounts, and numbers that were given to them.
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

/** A position of a portfolio, alone or among those of others: its epoch is the user's. */
function learnStreamPosition(all: Canaries, person: Person, text: string): void {
  const at = /^(?:.*\bportfolio:)?([a-z0-9]{16})-\d+(?:,|$)/.exec(text)
  // That of `/ws` names products and boards, too; on the user's own socket there is nothing else.
  if (!at || (text.includes(':') && !text.includes('portfolio:'))) return
  all.add(person.tag, at[1] as string)
  remember(person, 'positions', text)
}
