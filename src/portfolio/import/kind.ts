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

/** The kind that a word of a file means, capitals and marks aside; null for one that is not known. */
export const parseKind = (word: string): ActivityKind | null =>
  KIND_BY_NAME.get(word.toLowerCase().replace(/[^\p{L}]/gu, '')) ?? null

/** How a kind that no reader knows is told. */
export const unknownKindMessage = (told: string): string =>
  told === '' ? 'is missing' : `${told.slice(0, 60)} is a kind of activity that is not known here`
