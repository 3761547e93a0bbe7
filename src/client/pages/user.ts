import {
  figureText,
  holdingStaleText,
  lotsText,
  missingText,
  POSITION_FIGURES,
  peText,
  TOTAL_FIGURES,
} from '../../portfolio/words.ts'
import type { Position, Totals } from '../../protocol/portfolio.ts'
import { drawHistory, moveHistory } from '../history-chart.ts'
import { byId, showFigures, write } from '../live-figures.ts'
import { followPortfolio, readAgain, speak } from '../live-portfolio.ts'
import type { PortfolioState } from '../portfolio-state.ts'

let state: PortfolioState | null = null

function show(next: PortfolioState): void {
  const before = state?.portfolio?.currency
  state = next
  const { portfolio, positions } = next
  if (portfolio === null) return
  // Nothing of what stands there, the chart least of all, is of another currency.
  if (before !== undefined && before !== portfolio.currency) location.reload()
  else if (shape(positions, portfolio.currency) !== shapeShown()) readAgain('portfolio', showState)
  else showState()
}

function showState(): void {
  if (!state?.portfolio || state.portfolio.currency !== byId('portfolio').dataset.currency) return
  showTotals(state.portfolio)
  for (const position of state.positions) showPosition(position)
}

/** Which rows there are, in which table and which currency: what only the server writes. */
const shape = (positions: readonly Position[], currency: string): string =>
  shapeOf(
    positions.map(({ asset_id, lots }) => `${asset_id}${lots > 0 ? ' open' : ''}`),
    positions.length === 0 ? '' : currency,
  )

function shapeShown(): string {
  const rows = [...document.querySelectorAll<HTMLElement>('#portfolio tr[data-asset]')]
  return shapeOf(
    rows.map((row) => `${row.dataset.asset}${row.closest('#open') ? ' open' : ''}`),
    rows.length === 0 ? '' : byId('portfolio').dataset.currency,
  )
}

const shapeOf = (rows: readonly string[], currency = ''): string => [currency, ...rows.toSorted()].join()

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
