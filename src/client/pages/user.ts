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
import { byId, showFigures, write } from '../live-figures.ts'
import { followPortfolio, readAgain, speak } from '../live-portfolio.ts'
import type { PortfolioState } from '../portfolio-state.ts'

let state: PortfolioState | null = null

function show(next: PortfolioState): void {
  state = next
  const { portfolio, positions } = next
  if (portfolio === null) return
  if (shape(positions, portfolio.currency) !== shapeShown()) readAgain('portfolio', showAgain)
  showTotals(portfolio)
  for (const position of positions) showPosition(position)
}

const showAgain = (): void => {
  if (state?.portfolio) {
    showTotals(state.portfolio)
    for (const position of state.positions) showPosition(position)
  }
}

/** Which rows there are, in which tables and which currency: what only the server writes. */
const shape = (positions: readonly Position[], currency: string): string =>
  [currency, ...positions.map(({ asset_id, lots }) => `${asset_id}${lots > 0 ? ' open' : ''}`).sort()].join()

function shapeShown(): string {
  const rows = [...document.querySelectorAll<HTMLElement>('#portfolio tr[data-asset]')]
  const ids = rows.map((row) => `${row.dataset.asset}${row.closest('#open') ? ' open' : ''}`)
  return [byId('portfolio').dataset.currency, ...ids.sort()].join()
}

function showTotals(portfolio: Totals): void {
  const totals = document.getElementById('totals')
  if (!totals) return
  showFigures(totals, TOTAL_FIGURES, portfolio, portfolio.currency)
  const missing = missingText(portfolio)
  byId('missing').hidden = missing === null
  write(byId('missing'), missing ?? '')
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

followPortfolio(show)
