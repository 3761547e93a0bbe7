import { type FigureKind, figureClass, formatFigure, UNKNOWN_FIGURE } from '../../portfolio/format.ts'

/** The page's element with this id. @throws Error if there is none */
export const byId = (id: string): HTMLElement => {
  const element = document.getElementById(id)
  if (!element) throw new Error(`the page has no #${id}`)
  return element
}

/** Sets an element's text, unless it has that text already. */
export function setText(element: Element | null, text: string): void {
  if (element && element.textContent !== text) element.textContent = text
}

/** Fades an element in briefly, to show that it changed. */
function flash(element: Element): void {
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) return
  element.animate([{ opacity: 0.45 }, { opacity: 1 }], { duration: 300 })
}

/** Sets an element's text, and flashes it if the text is new. */
export function showText(element: Element, text: string): void {
  if (element.textContent === text) return
  element.textContent = text
  flash(element)
}

/**
 * Updates the figures inside an element: each `data-figure` shows the amount with its name. Figures that do not change are
 * not touched.
 * @param kinds formats of the figures, by name
 * @param currency currency of the amounts
 */
export function showFigures(
  parent: ParentNode,
  kinds: Readonly<Record<string, FigureKind>>,
  amounts: Readonly<Record<string, unknown>>,
  currency: string,
): void {
  for (const element of parent.querySelectorAll<HTMLDataElement>('data[data-figure]')) {
    const key = element.dataset.figure ?? ''
    const [kind, amount] = [kinds[key], amounts[key]]
    if (kind === undefined || amount === undefined) continue
    showFigure(element, kind, typeof amount === 'string' ? amount : null, currency)
  }
}

function showFigure(element: HTMLDataElement, kind: FigureKind, amount: string | null, currency: string): void {
  if (element.value === (amount ?? '') && element.dataset.currency === currency) return
  element.value = amount ?? ''
  element.dataset.currency = currency
  element.className = figureClass(kind, amount)
  if (amount === null) {
    element.removeAttribute('title')
    const sign = { ariaHidden: 'true', textContent: UNKNOWN_FIGURE.sign }
    const words = { className: 'hidden', textContent: UNKNOWN_FIGURE.words }
    element.replaceChildren(...[sign, words].map((span) => Object.assign(document.createElement('span'), span)))
    return
  }
  element.title = amount
  showText(element, formatFigure(kind, amount, currency))
}
