import {
  formatFigure,
  formatLotCount,
  formatPeDate,
  holdingStaleLabel,
  incompleteNotice,
  POSITION_FIGURES,
  TOTAL_FIGURES,
} from '../../portfolio/format.ts'
import type { Position, Totals } from '../../protocol/portfolio.ts'
import { drawHistory, updateHistory } from '../elements/history-chart.ts'
import { byId, setText, showFigures } from '../elements/live-figures.ts'
import { announce } from '../elements/live-page.ts'
import { followPortfolio, reloadParts } from '../elements/live-portfolio.ts'
import type { PortfolioState } from '../sdk/portfolio-state.ts'

let state: PortfolioState | null = null

/** The version of the portfolio that the page was rendered from. */
const shownVersion = (): number => Number(byId('portfolio').dataset.version)

function show(next: PortfolioState): void {
  state = next
  // Rows were added or removed, or the history changed: only the server has these.
  if (next.portfolio !== null && next.portfolio.version > shownVersion()) reloadParts(['portfolio', 'values'], redraw)
  else showState()
}

function redraw(): void {
  drawHistory()
  showState()
}

function showState(): void {
  if (!state?.portfolio || state.portfolio.version < shownVersion()) return
  showTotals(state.portfolio)
  for (const position of state.positions) showPosition(position)
}

function showTotals(portfolio: Totals): void {
  const totals = document.getElementById('totals')
  if (!totals) return
  showFigures(totals, TOTAL_FIGURES, portfolio, portfolio.currency)
  const missing = incompleteNotice(portfolio)
  byId('missing').hidden = missing === null
  setText(byId('missing'), missing ?? '')
  updateHistory(Number(portfolio.present_value), Date.now() / 1_000)
  announce(`Total ${formatFigure('money', portfolio.present_value, portfolio.currency)} ${portfolio.currency}`)
}

function showPosition(position: Position): void {
  const row = document.querySelector(`#portfolio tr[data-asset="${position.asset_id}"]`)
  if (!row) return
  showFigures(row, POSITION_FIGURES, position, position.currency)
  setText(row.querySelector('[data-count=lots]'), formatLotCount(position.lots))
  setText(row.querySelector('[data-note=stale]'), position.stale === null ? '' : holdingStaleLabel(position.stale))
  setText(row.querySelector('[data-note=pe]'), formatPeDate(position))
}

drawHistory()
followPortfolio(show)
