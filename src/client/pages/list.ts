import { startDatastar } from '../elements/datastar.ts'
import { percentText, priceText } from '../elements/format-number.ts'
import { countDecimals } from '../elements/series.ts'
import { SpotCandle, type SpotCandleChange } from '../elements/spot-candle.ts'

/** Prices without an open feed, ages and statuses are read again this often. */
const REFRESH_MS = 30_000

/** Products that the stream has moved since the page was opened: their price is not taken from a refresh. */
const liveProducts = new Set<string>()

document.addEventListener('spot-candle', (event) => {
  const { product, close, price } = (event as CustomEvent<SpotCandleChange>).detail
  const cell = document.getElementById(`price-${product}`)
  if (!cell) return
  liveProducts.add(product)
  const text = priceText(close, countDecimals(Number(price)))
  if (cell.textContent !== text) {
    cell.textContent = text
    flash(cell)
  }
  showChange(product, close)
  showLive(product)
})

/** The change over 24 hours follows a live price; a day's candle alone would tell the change since midnight. */
function showChange(product: string, price: number): void {
  const cell = document.getElementById(`change-${product}`)
  const before = Number(cell?.dataset.before)
  if (!cell || !(before > 0)) return
  const change = (100 * (price - before)) / before
  cell.textContent = percentText(change)
  cell.className = `number change ${change > 0 ? 'up' : change < 0 ? 'down' : 'flat'}`
}

function showLive(product: string): void {
  const cell = document.getElementById(`as-of-${product}`)
  if (!cell || cell.querySelector('.live')) return
  const mark = document.createElement('span')
  mark.className = 'live'
  mark.textContent = 'live'
  cell.replaceChildren(mark)
}

function flash(cell: HTMLElement): void {
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) return
  cell.animate([{ opacity: 0.45 }, { opacity: 1 }], { duration: 300 })
}

/** Reads the page again and takes the cells that changed. The stream goes on as it is. */
async function reloadCells(): Promise<void> {
  const response = await fetch(location.href, { headers: { accept: 'text/html' } })
  if (!response.ok) throw new Error(`the list answered ${response.status}`)
  const fresh = new DOMParser().parseFromString(await response.text(), 'text/html')
  for (const cell of fresh.querySelectorAll<HTMLElement>('.markets td[id]')) {
    const known = document.getElementById(cell.id)
    if (!known) return location.reload()
    const product = cell.id.slice(cell.id.indexOf('-') + 1)
    if (cell.dataset.before !== undefined) known.dataset.before = cell.dataset.before
    const closed = cell.id.startsWith('as-of-') && cell.querySelector('.live') === null
    if (closed) liveProducts.delete(product)
    if (cell.id.startsWith('as-of-') || !liveProducts.has(product)) {
      known.className = cell.className
      known.replaceChildren(...cell.childNodes)
    }
  }
}

setInterval(() => {
  if (!document.hidden) reloadCells().catch((error) => console.warn(error))
}, REFRESH_MS)

customElements.define('spot-candle', SpotCandle)
startDatastar()
