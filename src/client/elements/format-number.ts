/** `67,412.10`: grouped, at least two digits after the point. */
export function priceText(value: number, digits: number): string {
  const shown = Math.max(2, digits)
  return formatter(shown).format(value)
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

/** `+1.23%`, with a true minus sign. */
export function percentText(value: number): string {
  const text = formatter(2).format(Math.abs(value))
  return `${value < 0 && text !== '0.00' ? '−' : '+'}${text}%`
}

const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumSignificantDigits: 4 })

/** `12.3K`: four significant digits. */
export const compactText = (value: number): string => compact.format(value)
