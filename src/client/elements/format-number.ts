/** A price with thousands separators and at least two decimals: `67,412.10`. */
export function priceText(value: number, digits: number): string {
  return formatter(Math.max(2, digits)).format(value)
}

const formatters = new Map<number, Intl.NumberFormat>()

function formatter(digits: number): Intl.NumberFormat {
  let known = formatters.get(digits)
  if (!known) {
    known = new Intl.NumberFormat('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
    formatters.set(digits, known)
  }
  return known
}

/** A signed percentage with two decimals: `+1.23%`, `−0.50%`. */
export function percentText(value: number): string {
  const text = formatter(2).format(Math.abs(value))
  return `${value < 0 && text !== '0.00' ? '−' : '+'}${text}%`
}

const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumSignificantDigits: 4 })

/** A number with four significant digits: `12.35K`. */
export const compactText = (value: number): string => compact.format(value)
