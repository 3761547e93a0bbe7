import type { Candle } from '../../protocol/candle.ts'
import type { Granularity } from '../../protocol/granularity.ts'

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Text that can stand in HTML, in an attribute of either quote too. */
const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (sign) => ENTITIES[sign] as string)

/**
 * Plain decimal text with ten digits after the point, as Go's `%.10f` prints it, but worked out on the
 * digits themselves: a longer fraction is rounded half up.
 */
export function tenDecimals(text: string): string {
  const [whole = '0', fraction = ''] = text.split('.')
  if (fraction.length <= 10) return `${whole}.${fraction.padEnd(10, '0')}`
  const scaled = BigInt(whole + fraction.slice(0, 10)) + (fraction.charCodeAt(10) >= 53 ? 1n : 0n)
  const digits = scaled.toString().padStart(11, '0')
  return `${digits.slice(0, -10)}.${digits.slice(-10)}`
}

/** `<spot-candle>` (D7): one element per product and granularity, its attributes one a line. */
export function renderSpotCandle(candle: Candle): string {
  const product = escapeHtml(candle.product_id)
  return `<spot-candle id="${product}-${candle.granularity}"
    data-product="${product}"
    data-granularity="${candle.granularity}"
    data-timestamp="${candle.timestamp}"
    data-open="${tenDecimals(candle.open)}"
    data-high="${tenDecimals(candle.high)}"
    data-low="${tenDecimals(candle.low)}"
    data-close="${tenDecimals(candle.close)}"
    data-volume="${tenDecimals(candle.volume)}"
    data-complete="${candle.is_complete}"
></spot-candle>`
}

/** One chart: its candles ascending. */
export type SpotChart = { product: string; granularity: Granularity; candles: readonly Candle[] }

/** The candles for `data-candles`: start, open, high, low, close, volume, with all their digits. */
const chartCandles = (candles: readonly Candle[]): string =>
  `[${candles
    .map((c) => `{"t":${c.timestamp},"o":${c.open},"h":${c.high},"l":${c.low},"c":${c.close},"v":${c.volume}}`)
    .join(',')}]`

/** `<spot-chart>`; `attributes` are further ones of the element, by name. */
export function renderSpotChart(chart: SpotChart, attributes: Readonly<Record<string, string>> = {}): string {
  const product = escapeHtml(chart.product)
  const more = Object.entries(attributes).map(([name, value]) => `\n    ${name}="${escapeHtml(value)}"`)
  const candles = chartCandles(chart.candles).replace(/[&<>']/g, (sign) => ENTITIES[sign] as string)
  return `<spot-chart id="chart-${product}-${chart.granularity}"
    data-product="${product}"
    data-granularity="${chart.granularity}"${more.join('')}>
  <canvas data-candles='${candles}'></canvas>
</spot-chart>`
}
