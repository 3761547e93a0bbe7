import type { ActivityKind } from '../../protocol/portfolio.ts'

const KIND_NAMES: Readonly<Record<ActivityKind, string>> = {
  buy: 'buy b bot bought purchase kauf koop achat compra acquisto item reinvestment',
  sell: 'sell s sld sold sale verkauf verkoop vente venta venda vendita',
  dividend: 'dividend dividends div dividende dividendo distribution',
  fee: 'fee fees commission custodyfee charge',
  interest: 'interest zinsen rente intérêts',
  tax: 'tax taxes withholdingtax steuer',
  split: 'split stocksplit',
  transfer_in: 'transferin',
  transfer_out: 'transferout',
}

const KIND_BY_NAME = new Map(
  Object.entries(KIND_NAMES).flatMap(([kind, words]) => words.split(' ').map((word) => [word, kind as ActivityKind])),
)

/** The kind that a word means, ignoring case and punctuation; null for an unknown word. */
export const parseKind = (word: string): ActivityKind | null =>
  KIND_BY_NAME.get(word.toLowerCase().replace(/[^\p{L}]/gu, '')) ?? null

/** The value of the first pattern that the text matches; null for none. */
export const firstMatch = <T>(text: string, patterns: readonly (readonly [RegExp, T])[]): T | null =>
  patterns.find(([pattern]) => pattern.test(text))?.[1] ?? null

/** The error message for an unknown kind of activity. */
export const unknownKindMessage = (kind: string): string =>
  kind === '' ? 'is missing' : `${kind.slice(0, 60)} is not a known activity type`
