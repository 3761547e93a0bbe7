const formatters = new Map<number, Intl.NumberFormat>()

/** A price with thousands separators and at least two decimals: `67,412.10`. */
export function priceText(value: number, digits: number): string {
  const places = Math.max(2, digits)
  const formatter =
    formatters.get(places) ??
    new Intl.NumberFormat('en-US', { minimumFractionDigits: places, maximumFractionDigits: places })
  formatters.set(places, formatter)
  return formatter.format(value)
}

const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumSignificantDigits: 4 })

/** A number with four significant digits: `12.35K`. */
export const compactText = (value: number): string => compact.format(value)
