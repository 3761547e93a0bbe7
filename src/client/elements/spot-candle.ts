/** Detail of a `spot-candle` event. Numbers are for display; `price` is the text of `data-close`. */
type SpotCandleChange = {
  product: string
  open: number
  high: number
  low: number
  close: number
  price: string
}

const SVG_NAMESPACE = 'http://www.w3.org/2000/svg'
const WIDTH = 100
const HEIGHT = 14

const sheet = new CSSStyleSheet()
sheet.replaceSync(`
  :host { display: inline-block; width: 100%; height: ${HEIGHT}px; vertical-align: middle; }
  svg { display: block; width: 100%; height: 100%; overflow: visible; }
  .wick { stroke: var(--range, GrayText); stroke-width: 2; }
  .body { stroke-width: 8; }
  .up { stroke: var(--up, green); }
  .down { stroke: var(--down, red); }
`)

/**
 * `<spot-candle>`: draws the candle of its attributes horizontally, from low at the left to high at the right, and
 * dispatches a bubbling `spot-candle` event for every change.
 */
export class SpotCandle extends HTMLElement {
  static readonly observedAttributes = ['data-open', 'data-high', 'data-low', 'data-close', 'data-timestamp']
  #drawScheduled = false

  connectedCallback(): void {
    this.#draw()
  }

  attributeChangedCallback(): void {
    // Several attributes change together: they are drawn once.
    if (this.#drawScheduled) return
    this.#drawScheduled = true
    queueMicrotask(() => {
      this.#drawScheduled = false
      if (this.isConnected) this.#draw()
    })
  }

  #draw(): void {
    const { product = '', open = '', high = '', low = '', close = '' } = this.dataset
    if (close === '') return
    if (!this.shadowRoot) this.attachShadow({ mode: 'open' }).adoptedStyleSheets = [sheet]
    const change = { product, open: +open, high: +high, low: +low, close: +close, price: close }
    const span = change.high - change.low
    const x = (price: number) => (span > 0 ? (WIDTH * (price - change.low)) / span : WIDTH / 2)
    const svg = svgElement('svg', {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: 'none',
      'aria-hidden': 'true',
    })
    const rising = change.close >= change.open
    const [from, to] = rising ? [x(change.open), x(change.close)] : [x(change.close), x(change.open)]
    svg.append(line('wick', 0, WIDTH), line(`body ${rising ? 'up' : 'down'}`, from, Math.max(to, from + 1)))
    this.shadowRoot?.replaceChildren(svg)
    this.dispatchEvent(new CustomEvent<SpotCandleChange>('spot-candle', { detail: change, bubbles: true }))
  }
}

const line = (name: string, from: number, to: number): SVGElement =>
  svgElement('line', { class: name, x1: from, x2: to, y1: HEIGHT / 2, y2: HEIGHT / 2 })

function svgElement(tag: 'svg' | 'line', attributes: Readonly<Record<string, string | number>>): SVGElement {
  const element = document.createElementNS(SVG_NAMESPACE, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value))
  return element
}
