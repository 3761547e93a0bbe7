import { html } from 'hono/html'
import type { Html } from './layout.ts'

type FiguresTable = {
  /** The id of its heading. */
  labelledBy: string
  caption: string
  /** Headings from left to right; those of `numbers` are aligned right. */
  columns: { before: readonly string[]; numbers?: readonly string[]; after?: readonly string[] }
  rows: readonly Html[]
  id?: string
  /** With its own vertical scroll bar. */
  tall?: boolean
}

const headings = (texts: readonly string[], classes: string): Html[] =>
  texts.map((text) => html`<th scope="col" class="${classes}">${text}</th>`)

/** A table of figures that scrolls sideways on narrow screens. */
export const figuresTable = ({ labelledBy, caption, columns, rows, id, tall = false }: FiguresTable): Html => {
  const { before, numbers = [], after = [] } = columns
  return html`<div class="scroll${tall ? ' tall' : ''}" tabindex="0" role="group" aria-labelledby="${labelledBy}">
  <table class="figures"${id ? html` id="${id}"` : ''}>
    <caption class="hidden">${caption}</caption>
    <thead><tr>${headings(before, 'head')}${headings(numbers, 'head number')}${headings(after, 'head')}</tr></thead>
    <tbody>
${rows}
    </tbody>
  </table>
  </div>`
}

/** The address of a list with these parameters, without the empty ones. */
function listPath(path: string, parameters: Readonly<Record<string, string | null>>): string {
  const query = new URLSearchParams(
    Object.entries(parameters).flatMap(([name, value]) => (value ? [[name, value]] : [])),
  )
  return query.size === 0 ? path : `${path}?${query}`
}

/** Where a page of a list is: `first`, and the cursor of the `next` page, null on the last one. */
export type PagePosition = { first: boolean; next: string | null }

/** Links from a page of a list to the first and the next one. */
export const pager = (
  { first, next }: PagePosition,
  path: string,
  filter: Readonly<Record<string, string>> = {},
): Html =>
  html`<p class="pager">${first ? '' : html`<a href="${listPath(path, filter)}">First page</a> `}${next === null ? '' : html`<a href="${listPath(path, { ...filter, after: next })}" rel="next">Next</a>`}</p>`
