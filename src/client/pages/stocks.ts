import { LOT_FIGURES } from '../../portfolio/format.ts'
import { valueLot } from '../../portfolio/valuation.ts'
import type { LotView, PortfolioPrice, Position } from '../../protocol/portfolio.ts'
import { showFigures } from '../elements/live-figures.ts'
import { followPortfolio, reloadParts } from '../elements/live-portfolio.ts'
import { suggestSymbols } from '../elements/symbol-search.ts'
import type { PortfolioState } from '../sdk/portfolio-state.ts'

/** The data that the page was rendered from: lots, prices of their assets, currency and version of the portfolio. */
type LotData = { currency: string; version: number; lots: LotView[]; prices: PortfolioPrice[] }

let state: PortfolioState | null = null

function readLotData(): LotData | null {
  const text = document.getElementById('lots')?.dataset.written
  return text === undefined ? null : (JSON.parse(text) as LotData)
}

function show(next: PortfolioState): void {
  state = next
  const page = readLotData()
  if (page === null || next.portfolio === null) return
  // Lots were added, changed or deleted: the server knows which of them are on this page.
  const { currency, version } = next.portfolio
  if (version > page.version || currency !== page.currency) reloadParts(['lots'], showLots)
  else showLots()
}

/** Shows each lot at the price of its position, valued by the same function as on the server. */
function showLots(): void {
  const page = readLotData()
  if (page === null || state?.portfolio?.currency !== page.currency) return
  const positions = new Map(state.positions.map((position) => [position.asset_id, position]))
  const prices = new Map([...page.prices, ...state.prices].map((price) => [price.asset_id, price]))
  for (const lot of page.lots) {
    const row = document.querySelector(`#lots tr[data-lot="${lot.id}"]`)
    const [position, price] = [positions.get(lot.asset_id), prices.get(lot.asset_id)]
    if (row && position) showFigures(row, LOT_FIGURES, valueAtPosition(lot, position, price), page.currency)
  }
}

/** Not a currency: positions have a rate to the portfolio's currency, and `valueLot` expects rates by currency. */
const PRICE_CURRENCY = 'cmp_currency'

function valueAtPosition(lot: LotView, position: Position, price: PortfolioPrice | undefined): LotView {
  const { cmp, rate, as_of } = position
  if (price === undefined || cmp === null || as_of === null) return lot
  const now = { ...price, price: cmp, as_of, currency: PRICE_CURRENCY }
  return valueLot(lot, now, { now: new Map([[PRICE_CURRENCY, rate]]) }, 'USD')
}

suggestSymbols()
if (document.getElementById('lots')) followPortfolio(show)
