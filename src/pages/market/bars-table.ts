import { html } from 'hono/html'
import { formatPrice } from '../../pricing/format.ts'
import type { Html } from '../site/layout.ts'

type Prices = { open: string; high: string; low: string; close: string }

/** The table of the newest bars, which belongs to the heading `bars-title`. */
export const barsTable = (start: string, rows: readonly Html[], tall: boolean): Html =>
  html`<div class="scroll${tall ? ' tall' : ''}" tabindex="0" role="group" aria-labelledby="bars-title">
  <table class="bars">
    <thead><tr>${[start, 'Open', 'High', 'Low', 'Close', 'Volume', 'State'].map((text) => html`<th scope="col" class="head">${text}</th>`)}</tr></thead>
    <tbody id="bars">
${rows}
    </tbody>
  </table>
  </div>`

/** The cells of one bar. */
export const barCells = ({ open, high, low, close }: Prices, start: string, volume: string, state: string): Html =>
  html`<th scope="row">${start}</th><td>${formatPrice(open)}</td><td>${formatPrice(high)}</td><td>${formatPrice(low)}</td><td class="${Number(close) >= Number(open) ? 'up' : 'down'}">${formatPrice(close)}</td><td>${volume}</td><td>${state}</td>`
