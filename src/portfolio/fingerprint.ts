import type { Activity } from './activity.ts'

/** What two activities have in common that say the same thing. */
export type ActivityContent = Pick<
  Activity,
  'kind' | 'asset_id' | 'quantity' | 'price' | 'fees' | 'currency' | 'traded_at' | 'split'
>

/** An activity that is there already. */
export type StoredActivity = ActivityContent & { id: string; fingerprint: string | null }

/** SHA-256 of a text, in hexadecimal. */
export type Digest = (text: string) => Promise<string>

/** What an activity says, as text: amounts and the time have one way to be written. */
const serializeContent = ({
  kind,
  asset_id,
  quantity,
  price,
  fees,
  currency,
  traded_at,
  split,
}: ActivityContent): string =>
  JSON.stringify([kind, asset_id, quantity, price, fees, currency, traded_at, split?.numerator, split?.denominator])

/**
 * The fingerprint of each row: of what it says, and of how many rows before it say the same, so that two equal trades of
 * one file are two, and the file once more is none.
 */
export async function computeFingerprints(rows: readonly ActivityContent[], digest: Digest): Promise<string[]> {
  const counted = new Map<string, number>()
  const texts = rows.map((row) => {
    const text = serializeContent(row)
    const before = counted.get(text) ?? 0
    counted.set(text, before + 1)
    return `${text}#${before}`
  })
  return Promise.all(texts.map(digest))
}

/**
 * For each row the id of the activity that is there already and says the same; null for a new one, with its fingerprint
 * (null where another activity has it, which says something else since it was edited).
 */
export type DuplicateMatch = { known: string } | { known: null; fingerprint: string | null }

/** Adds to the list of a key. */
function addToList(lists: Map<string, string[]>, key: string, value: string): void {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}

/**
 * Which rows are there already. One that was typed counts as well as one that was imported, and one that was imported and
 * edited since counts as what it was, too; each counts once.
 * @param prints the rows' fingerprints
 * @param there activities that may be the same: those of the rows' times, and those with one of the fingerprints
 */
export function matchDuplicates(
  rows: readonly ActivityContent[],
  prints: readonly string[],
  there: readonly StoredActivity[],
): DuplicateMatch[] {
  const texts = rows.map(serializeContent)
  const textOf = new Map(prints.map((print, at) => [print, texts[at] as string]))
  const taken = new Set<string>()
  const known = new Map<string, string[]>()
  // From the end, so that the first is taken first.
  for (const activity of there.toReversed()) {
    const now = serializeContent(activity)
    addToList(known, now, activity.id)
    if (activity.fingerprint === null) continue
    taken.add(activity.fingerprint)
    const before = textOf.get(activity.fingerprint)
    if (before !== undefined && before !== now) addToList(known, before, activity.id)
  }
  const free = new Map<string, string[]>()
  for (let at = prints.length - 1; at >= 0; at--) {
    const print = prints[at] as string
    if (!taken.has(print)) addToList(free, texts[at] as string, print)
  }
  const used = new Set<string>()
  return texts.map((text) => {
    const same = known.get(text) ?? []
    for (let id = same.pop(); id !== undefined; id = same.pop()) {
      if (used.has(id)) continue
      used.add(id)
      return { known: id }
    }
    return { known: null, fingerprint: free.get(text)?.pop() ?? null }
  })
}
