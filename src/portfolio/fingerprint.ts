import type { Activity } from './activity.ts'

/** The fields that two equal activities share. */
export type ActivityContent = Pick<
  Activity,
  'kind' | 'asset_id' | 'quantity' | 'price' | 'fees' | 'currency' | 'traded_at' | 'split'
>

/** A stored activity. */
export type StoredActivity = ActivityContent & { id: string; fingerprint: string | null }

/** SHA-256 of a text, in hexadecimal. */
export type Digest = (text: string) => Promise<string>

/** The content of an activity as text, with amounts and time in one normal form. */
function serializeContent(activity: ActivityContent): string {
  const { kind, asset_id, quantity, price, fees, currency, traded_at, split } = activity
  return JSON.stringify([
    kind,
    asset_id,
    quantity,
    price,
    fees,
    currency,
    traded_at,
    split?.numerator,
    split?.denominator,
  ])
}

/**
 * The fingerprint of each row: a digest of its content and of the number of equal rows before it. Two equal trades of one
 * file have two fingerprints, and importing the file again adds nothing.
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
 * The id of the stored activity that a row repeats; null for a new row, with its fingerprint (null where an edited activity
 * has it).
 */
export type DuplicateMatch = { known: string } | { known: null; fingerprint: string | null }

function addToList(lists: Map<string, string[]>, key: string, value: string): void {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}

/**
 * Matches rows with stored activities, each of which counts once. An activity that was edited since its import matches both
 * as it is now and as it was imported.
 * @param prints the rows' fingerprints
 * @param stored activities within the rows' times, and those with one of the fingerprints
 */
export function matchDuplicates(
  rows: readonly ActivityContent[],
  prints: readonly string[],
  stored: readonly StoredActivity[],
): DuplicateMatch[] {
  const texts = rows.map(serializeContent)
  const textOf = new Map(prints.map((print, at) => [print, texts[at] as string]))
  const taken = new Set<string>()
  const known = new Map<string, string[]>()
  // From the end, so that the first is taken first.
  for (const activity of stored.toReversed()) {
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
