import { html } from 'hono/html'
import { type FigureKind, figureClass, formatFigure, UNKNOWN_FIGURE } from '../../portfolio/format.ts'
import type { Html } from './layout.ts'

const unknown: Html = html`<span aria-hidden="true">${UNKNOWN_FIGURE.sign}</span><span class="hidden">${UNKNOWN_FIGURE.words}</span>`

/**
 * A figure: rounded for display, exact as the element's value and title.
 * @param key its name in messages, by which the page's script finds it; empty if it does not change
 * @param currency of an amount
 * @param text how it is shown, by default as its kind
 */
export const figure = (
  kind: FigureKind,
  key: string,
  amount: string | null,
  currency: string,
  text = amount === null ? unknown : formatFigure(kind, amount, currency),
): Html =>
  html`<data class="${figureClass(kind, amount)}" value="${amount ?? ''}"${key === '' ? '' : html` data-figure="${key}"`}${amount === null ? '' : html` title="${amount}"`}>${text}</data>`
