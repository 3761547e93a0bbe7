import {
  figureText,
  holdingStaleText,
  lotsText,
  missingText,
  POSITION_FIGURES,
  peText,
  TOTAL_FIGURES,
} from '../../portfolio/format.ts'
import type { Position, Totals } from '../../protocol/portfolio.ts'
import { drawHistory, moveHistory } from '../elements/history-chart.ts'
import { byId, showFigures, write } from '../elements/live-figures.ts'
import { followPortfolio, readAgain, speak } from '../elements/live-portfolio.ts'
import type { PortfolioState } from '../sdk/portfolio-state.ts'

let state: PortfolioState | null = null

/** Of what the page was written with. */
const versionShown = (): number => Number(byId('portfolio').dataset.version)

function show(next: PortfolioState): void {
  state = next
  // Rows that came or went, and what was worth how much before: the server knows.
  if (next.portfolio !== null && next.portfolio.version > versionShown()) readAgain(['portfolio', 'values'], showAnew)
  else showState()
}

function showAnew(): void {
  drawHistory()
  showState()
}

function showState(): void {
  if (!state?.portfolio || state.portfolio.version < versionShown()) return
  showTotals(state.portfolio)
  for (const position of state.positions) showPosition(position)
}

function showTotals(portfolio: Totals): void {
  const totals = document.getElementById('totals')
  if (!totals) return
  showFigures(totals, TOTAL_FIGURES, portfolio, portfolio.currency)
  const missing = missingText(portfolio)
  byId('missing').hidden = missing === null
  write(byId('missing'), missing ?? '')
  moveHistory(Number(portfolio.present_value), Date.now() / 1_000)
  speak(`Total ${figureText('money', portfolio.present_value, portfolio.currency)} ${portfolio.currency}`)
}

function showPosition(position: Position): void {
  const row = document.querySelector(`#portfolio tr[data-asset="${position.asset_id}"]`)
  if (!row) return
  showFigures(row, POSITION_FIGURES, position, position.currency)
  write(row.querySelector('[data-count=lots]'), lotsText(position.lots))
  write(row.querySelector('[data-note=stale]'), position.stale === null ? '' : holdingStaleText(position.stale))
  write(row.querySelector('[data-note=pe]'), peText(position))
}

drawHistory()
followPortfolio(show)
