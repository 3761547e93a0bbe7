import { type FigureKind, figureClass, formatFigure, UNKNOWN_FIGURE } from '../../portfolio/format.ts'

/** The page's element of this id. @throws Error where it has none */
export const byId = (id: string): HTMLElement => {
  const element = document.getElementById(id)
  if (!element) throw new Error(`the page has no #${id}`)
  return element
}

/** Writes text where it is another one. */
export function setText(element: Element | null, text: string): void {
  if (element && element.textContent !== text) element.textContent = text
}

function flash(element: Element): void {
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) return
  element.animate([{ opacity: 0.45 }, { opacity: 1 }], { duration: 300 })
}

/**
 * Brings the figures below an element up to date: each `data-figure` of it with the amount of its name. What stands as it
 * is already is not touched.
 * @param kinds how figures are written, by name
 * @param currency of the amounts
 */
export function showFigures(
  below: ParentNode,
  kinds: Readonly<Record<string, FigureKind>>,
  amounts: Readonly<Record<string, unknown>>,
  currency: string,
): void {
  for (const element of below.querySelectorAll<HTMLDataElement>('data[data-figure]')) {
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
    const [sign, words] = [document.createElement('span'), document.createElement('span')]
    sign.ariaHidden = 'true'
    sign.textContent = UNKNOWN_FIGURE.sign
    words.className = 'hidden'
    words.textContent = UNKNOWN_FIGURE.words
    element.replaceChildren(sign, words)
    return
  }
  element.title = amount
  const text = formatFigure(kind, amount, currency)
  if (element.textContent === text) return
  element.textContent = text
  flash(element)
}
