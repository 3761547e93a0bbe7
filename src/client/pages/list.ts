import { direction, formatPercent } from '../../pricing/format.ts'
import { priceText } from '../elements/format-number.ts'
import { showText } from '../elements/live-figures.ts'
import { fetchPage } from '../elements/live-page.ts'
import { countDecimals } from '../elements/series.ts'
import { SpotCandle } from '../elements/spot-candle.ts'
import { connectCandles, type LiveCandle } from '../sdk/candles.ts'

/** Prices without an open feed, ages and statuses are fetched again this often. */
const REFRESH_MS = 30_000

/** Products whose price the stream has moved since the page was opened: a refresh does not replace it. */
const liveProducts = new Set<string>()
/** Start of the newest day's candle by product, unix seconds. */
const newestDays = new Map<string, number>()

function showCandles(candles: readonly LiveCandle[]): void {
  for (const candle of candles) {
    // An earlier day's candle may come again, revised.
    if (candle.timestamp < (newestDays.get(candle.product_id) ?? 0)) continue
    newestDays.set(candle.product_id, candle.timestamp)
    showCandle(candle)
  }
}

function showCandle({ product_id: product, timestamp, open, high, low, close }: LiveCandle): void {
  const picture = document.getElementById(`${product}-ONE_DAY`)
  const cell = document.getElementById(`price-${product}`)
  if (!picture || !cell) return
  Object.assign(picture.dataset, { timestamp, open, high, low, close })
  liveProducts.add(product)
  const price = Number(close)
  showText(cell, priceText(price, countDecimals(price)))
  showChange(product, price)
  showLive(product)
}

/** Shows the change over 24 hours. The day's candle cannot give it: that starts at midnight. */
function showChange(product: string, price: number): void {
  const cell = document.getElementById(`change-${product}`)
  const before = Number(cell?.dataset.before)
  if (!cell || !(before > 0)) return
  const change = (100 * (price - before)) / before
  cell.textContent = formatPercent(change)
  cell.className = `number change ${direction(change)}`
}

function showLive(product: string): void {
  const cell = document.getElementById(`as-of-${product}`)
  if (!cell || cell.querySelector('.live')) return
  cell.replaceChildren(Object.assign(document.createElement('span'), { className: 'live', textContent: 'live' }))
}

/** Fetches the page again and updates the cells of products without a live price. */
async function reloadCells(): Promise<void> {
  const fresh = await fetchPage(location.href)
  for (const cell of fresh.querySelectorAll<HTMLElement>('.markets td[id]')) {
    const current = document.getElementById(cell.id)
    if (!current) return location.reload()
    const product = cell.id.slice(cell.id.indexOf('-') + 1)
    if (cell.dataset.before !== undefined) current.dataset.before = cell.dataset.before
    const isFeedClosed = cell.id.startsWith('as-of-') && cell.querySelector('.live') === null
    if (isFeedClosed) liveProducts.delete(product)
    if (cell.id.startsWith('as-of-') || !liveProducts.has(product)) {
      current.className = cell.className
      current.replaceChildren(...cell.childNodes)
    }
  }
}

setInterval(() => {
  if (!document.hidden) reloadCells().catch((error) => console.warn(error))
}, REFRESH_MS)

customElements.define('spot-candle', SpotCandle)
connectCandles({
  products: ['*'],
  granularities: ['ONE_DAY'],
  passive: true,
  onCandles: showCandles,
  onSnapshot: showCandles,
})
