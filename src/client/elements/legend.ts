import { compactText, percentText, priceText } from './format-number.ts'
import { timeText } from './format-time.ts'
import type { Bar } from './series.ts'

const COVERAGE_TEXT = {
  full: '',
  partial: 'partial: its beginning was not seen',
  gap: 'gap: trades are missing',
} as const

/**
 * Writes one bar's figures into the legend: O H L C, volume, change against the bar before, time in UTC, and what is
 * wrong with it, if anything is.
 */
export function drawLegend(
  target: HTMLElement,
  bar: Bar | null,
  before: Bar | null,
  digits: number,
  size: number,
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
    part('time', `${timeText(bar.t, size)} UTC`),
    figure('O', priceText(bar.o, digits)),
    figure('H', priceText(bar.h, digits)),
    figure('L', priceText(bar.l, digits)),
    figure('C', priceText(bar.c, digits)),
  ]
  // Bars of prices that were told, not of trades, have none.
  if (bar.v > 0) parts.push(figure('V', compactText(bar.v)))
  if (before && before.c !== 0) parts.push(figure('', percentText((100 * (bar.c - before.c)) / before.c)))
  if (bar.coverage !== 'full') {
    const mark = part('em', COVERAGE_TEXT[bar.coverage])
    parts.push(mark)
  }
  target.replaceChildren(...parts)
}

function part(tag: 'b' | 'em' | 'time', text: string): HTMLElement {
  const element = document.createElement(tag)
  element.textContent = text
  return element
}
