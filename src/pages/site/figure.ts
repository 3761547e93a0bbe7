import { html } from 'hono/html'
import { type FigureKind, figureClass, formatFigure, UNKNOWN_FIGURE } from '../../portfolio/format.ts'
import type { Html } from './layout.ts'

/** What a missing figure says beside its dash. */
const unknown: Html = html`<span aria-hidden="true">${UNKNOWN_FIGURE.sign}</span><span class="hidden">${UNKNOWN_FIGURE.words}</span>`

/**
 * One figure of a page: rounded to read, exact as the element's value and title.
 * @param key its name in what travels, by which the page's script finds it; empty for one that does not move
 * @param currency of the amount, where it is one
 */
export const figure = (kind: FigureKind, key: string, amount: string | null, currency: string): Html =>
  html`<data class="${figureClass(kind, amount)}" value="${amount ?? ''}"${key === '' ? '' : html` data-figure="${key}"`}${amount === null ? '' : html` title="${amount}"`}>${amount === null ? unknown : formatFigure(kind, amount, currency)}</data>`
