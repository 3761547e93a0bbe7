import { staleReasonLabel } from '../pricing/format.ts'
import type { ActivityKind, PositionStaleReason, Totals } from '../protocol/portfolio.ts'

/**
 * How a figure is shown: an amount in the portfolio's currency, one with its sign, a price of one share, a number of shares,
 * a percentage with its sign, or a ratio.
 */
export type FigureKind = 'money' | 'move' | 'price' | 'quantity' | 'percent' | 'ratio'

const VALUE_FIGURES = {
  present_value: 'money',
  invested: 'money',
  gain_loss: 'move',
  gain_loss_percent: 'percent',
  day_change: 'move',
} as const satisfies Partial<Record<keyof Totals, FigureKind>>

/** Figures of the totals, positions and lots, by their names in messages. */
export const TOTAL_FIGURES = {
  ...VALUE_FIGURES,
  day_change_percent: 'percent',
  realised_gain: 'move',
  income: 'money',
  expenses: 'money',
} as const
export const POSITION_FIGURES = {
  ...TOTAL_FIGURES,
  quantity: 'quantity',
  cmp: 'price',
  average_cost: 'price',
  pe_ratio: 'ratio',
} as const
export const LOT_FIGURES = {
  ...VALUE_FIGURES,
  quantity: 'quantity',
  price: 'price',
  fees: 'price',
  cost: 'price',
} as const

/** The text of an unknown figure, shown and for screen readers. */
export const UNKNOWN_FIGURE = { sign: '–', words: 'unknown' } as const

type Format = (decimal: string) => string

function createFormat(options: Intl.NumberFormatOptions): Format {
  const format = new Intl.NumberFormat('en-US', options)
  // From text, the formatter rounds all digits once; a number would have lost some before.
  return (decimal) => format.format(decimal as `${number}`).replace('-', '−')
}

const price = createFormat({ minimumFractionDigits: 2, maximumFractionDigits: 4 })
const smallPrice = createFormat({ maximumSignificantDigits: 4 })
const quantity = createFormat({
  maximumFractionDigits: 8,
  maximumSignificantDigits: 4,
  roundingPriority: 'morePrecision',
})
const percent = createFormat({ minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: 'exceptZero' })
const ratio = createFormat({ minimumFractionDigits: 2, maximumFractionDigits: 2 })

/** Prices below this need more digits than two places. */
const SMALL = /^-?0+\.00\d*[1-9]/

const formatsByCurrency = new Map<string, { money: Format; move: Format }>()

function currencyFormats(currency: string): { money: Format; move: Format } {
  let known = formatsByCurrency.get(currency)
  if (!known) {
    const digits = currencyPlaces(currency)
    const places = { minimumFractionDigits: digits, maximumFractionDigits: digits }
    known = { money: createFormat(places), move: createFormat({ ...places, signDisplay: 'exceptZero' }) }
    formatsByCurrency.set(currency, known)
  }
  return known
}

/** Decimal places of a currency (0 for yen); 2 for one that ISO 4217 lacks. */
const currencyPlaces = (currency: string): number =>
  /^[A-Z]{3}$/.test(currency)
    ? (new Intl.NumberFormat('en-US', { style: 'currency', currency }).resolvedOptions().maximumFractionDigits ?? 2)
    : 2

/** A decimal rounded for display. @param currency of an amount */
export function formatFigure(kind: FigureKind, decimal: string, currency: string): string {
  switch (kind) {
    case 'money':
      return currencyFormats(currency).money(decimal)
    case 'move':
      return currencyFormats(currency).move(decimal)
    case 'price':
      return SMALL.test(decimal) ? smallPrice(decimal) : price(decimal)
    case 'quantity':
      return quantity(decimal)
    case 'percent':
      return `${percent(decimal)}%`
    case 'ratio':
      return ratio(decimal)
  }
}

/** `up` above 0, `down` below 0, `flat` at 0 or when unknown. */
export function figureDirection(decimal: string | null): 'up' | 'down' | 'flat' {
  if (decimal === null || !/[1-9]/.test(decimal)) return 'flat'
  return decimal.startsWith('-') ? 'down' : 'up'
}

/** The class of a figure's element: moves have the colours of their direction. */
export function figureClass(kind: FigureKind, decimal: string | null): string {
  if (decimal === null) return 'figure unknown'
  return kind === 'move' || kind === 'percent' ? `figure ${figureDirection(decimal)}` : 'figure'
}

/** The text for a holding without a current value. */
export function holdingStaleLabel(reason: PositionStaleReason): string {
  if (reason === 'unpriced') return 'No price available'
  if (reason === 'no_rate') return 'No exchange rate'
  return `Outdated: ${staleReasonLabel(reason)}`
}

/** A sentence about what the totals leave out; null when they are complete. */
export const incompleteNotice = ({ incomplete, missing }: Pick<Totals, 'incomplete' | 'missing'>): string | null =>
  incomplete
    ? `Totals exclude ${missing.map((symbol) => symbol || 'unassigned activities').join(', ')}: price or exchange rate missing.`
    : null

/** The date of a price/earnings ratio (P6); empty without a ratio. */
export const formatPeDate = ({ pe_ratio, pe_as_of }: { pe_ratio: string | null; pe_as_of: string | null }): string =>
  pe_ratio === null || pe_as_of === null ? '' : `as of ${pe_as_of.slice(0, 10)}`

/** How many lots are open. */
export const formatLotCount = (lots: number): string => (lots === 1 ? '1 lot' : `${lots} lots`)

/** The label of an activity's kind. */
export const KIND_LABELS: Readonly<Record<ActivityKind, string>> = {
  buy: 'Buy',
  sell: 'Sell',
  dividend: 'Dividend',
  fee: 'Fee',
  interest: 'Interest',
  tax: 'Tax',
  split: 'Split',
  transfer_in: 'Transfer in',
  transfer_out: 'Transfer out',
}
