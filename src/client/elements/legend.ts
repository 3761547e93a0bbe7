import { formatPercent } from '../../pricing/format.ts'
import { compactText, priceText } from './format-number.ts'
import { timeText } from './format-time.ts'
import type { Bar } from './series.ts'

const COVERAGE_TEXT = {
  full: '',
  partial: 'Partial: started before we were recording',
  gap: 'Gap: some trades missing',
} as const

/**
 * Shows a bar in the legend: start in UTC, open, high, low, close, volume, change from the bar before, and its coverage if
 * that is not full.
 * @param index of the bar
 * @param digits decimals of the prices
 * @param sizeS seconds of one bar
 */
export function drawLegend(
  target: HTMLElement,
  bars: readonly Bar[],
  index: number,
  digits: number,
  sizeS: number,
): void {
  const [bar, before] = [bars[index], bars[index - 1]]
  if (bar === undefined) {
    target.textContent = 'No candles yet'
    return
  }
  const figure = (name: string, value: string) => {
    const span = document.createElement('span')
    span.className = bar.c >= bar.o ? 'up' : 'down'
    span.append(part('b', name), value)
    return span
  }
  const prices = { O: bar.o, H: bar.h, L: bar.l, C: bar.c }
  const parts: HTMLElement[] = [
    part('time', `${timeText(bar.t, sizeS)} UTC`),
    ...Object.entries(prices).map(([name, price]) => figure(name, priceText(price, digits))),
  ]
  // Bars of a provider's prices have no volume.
  if (bar.v > 0) parts.push(figure('V', compactText(bar.v)))
  if (before && before.c !== 0) parts.push(figure('', formatPercent((100 * (bar.c - before.c)) / before.c)))
  if (bar.coverage !== 'full') parts.push(part('em', COVERAGE_TEXT[bar.coverage]))
  target.replaceChildren(...parts)
}

const part = (tag: 'b' | 'em' | 'time', text: string): HTMLElement =>
  Object.assign(document.createElement(tag), { textContent: text })
