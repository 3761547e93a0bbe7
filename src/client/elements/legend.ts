import { compactText, percentText, priceText } from './format-number.ts'
import { timeText } from './format-time.ts'
import type { Bar } from './series.ts'

const COVERAGE_TEXT = {
  full: '',
  partial: 'partial: began before we were recording',
  gap: 'gap: some trades are missing',
} as const

/**
 * Shows a bar in the legend: start in UTC, open, high, low, close, volume, change from the bar before, and its coverage if
 * that is not full.
 * @param digits decimals of the prices
 * @param sizeS seconds of one bar
 */
export function drawLegend(
  target: HTMLElement,
  bar: Bar | null,
  before: Bar | null,
  digits: number,
  sizeS: number,
): void {
  if (bar === null) {
    target.textContent = 'No candles yet'
    return
  }
  const rising = bar.c >= bar.o
  const figure = (name: string, value: string) => {
    const span = document.createElement('span')
    span.className = rising ? 'up' : 'down'
    span.append(part('b', name), value)
    return span
  }
  const parts: HTMLElement[] = [
    part('time', `${timeText(bar.t, sizeS)} UTC`),
    figure('O', priceText(bar.o, digits)),
    figure('H', priceText(bar.h, digits)),
    figure('L', priceText(bar.l, digits)),
    figure('C', priceText(bar.c, digits)),
  ]
  // Bars made of a provider's prices have no volume.
  if (bar.v > 0) parts.push(figure('V', compactText(bar.v)))
  if (before && before.c !== 0) parts.push(figure('', percentText((100 * (bar.c - before.c)) / before.c)))
  if (bar.coverage !== 'full') {
    parts.push(part('em', COVERAGE_TEXT[bar.coverage]))
  }
  target.replaceChildren(...parts)
}

function part(tag: 'b' | 'em' | 'time', text: string): HTMLElement {
  const element = document.createElement(tag)
  element.textContent = text
  return element
}
