import { html } from 'hono/html'
import {
  formatLotCount,
  formatPeDate,
  holdingStaleLabel,
  incompleteNotice,
  POSITION_FIGURES,
  TOTAL_FIGURES,
} from '../../portfolio/format.ts'
import type { Position, Totals } from '../../protocol/portfolio.ts'
import type { HistoryRange } from '../../protocol/price-history.ts'
import type { Profile } from '../../protocol/profile.ts'
import type { ValueHistory } from '../../protocol/value-history.ts'
import { assetPath } from '../assets/asset.ts'
import { figure } from '../site/figure.ts'
import { utcText } from '../site/labels.ts'
import { type Html, layout, type Site } from '../site/layout.ts'
import { connectionNote, userNav } from './nav.ts'
import { valueCard } from './value-card.ts'

/** What the overview shows: the portfolio as the database has it at the moment of the page. */
export type UserPage = {
  profile: Profile
  portfolio: Totals
  positions: readonly Position[]
  range: HistoryRange
  /** Null: it cannot be read at the moment. */
  history: ValueHistory | null
}

/** The first page of who is signed in: whole as it comes, and moved on by the portfolio's socket where scripts run. */
export const userPage = (site: Site, { profile, portfolio, positions, range, history }: UserPage): Html =>
  layout(site, {
    title: 'Overview · Kerb',
    description: 'What is yours',
    script: 'user',
    content: html`
${userNav('/user')}
<div class="title-row"><h1>Hello${profile.name === '' ? '' : html`, ${profile.name}`}</h1>${connectionNote}</div>
<div id="portfolio" data-version="${portfolio.version}">
${positions.length === 0 ? emptyPortfolio : portfolioCards(portfolio, positions)}
</div>
<div id="values">${positions.length === 0 ? '' : valueCard(range, history)}</div>
<div class="card panel">
  <h2>Your account</h2>
  <dl>
    <div><dt>Email</dt><dd>${profile.email}</dd></div>
    <div><dt>Currency</dt><dd>${profile.currency}</dd></div>
    <div><dt>Prices</dt><dd>refreshed ${intervalText(profile.refresh_interval_seconds)}</dd></div>
    <div><dt>Here since</dt><dd><time datetime="${profile.created_at}">${utcText(Date.parse(profile.created_at)).slice(0, 10)}</time></dd></div>
  </dl>
  <p><a href="/user/profile">Change your profile</a></p>
</div>`,
  })

const intervalText = (seconds: number | null): string =>
  seconds === null ? 'as often as this Kerb does by itself' : `every ${seconds} s`

const emptyPortfolio: Html = html`<div class="card panel">
  <h2>Nothing here yet</h2>
  <p><a class="button" href="/user/stocks#add">Add what you own</a></p>
  <p>Or <a href="/user/import">import</a> it from a file of another program or a broker. Until then: <a href="/">live candles</a> of trading pairs, and <a href="/assets">prices</a> of stocks, funds, currencies and crypto.</p>
</div>`

function portfolioCards(portfolio: Totals, positions: readonly Position[]): Html {
  const open = positions.filter(isOpen)
  const closed = positions.filter((position) => position.asset_id !== 0 && !isOpen(position))
  const apart = positions.filter(({ asset_id }) => asset_id === 0)
  return html`${totalsCard(portfolio)}
${open.length === 0 ? '' : openCard(open, portfolio.currency)}
${closed.length + apart.length === 0 ? '' : closedCard([...closed, ...apart], portfolio.currency)}`
}

const isOpen = ({ lots }: Position): boolean => lots > 0

type TotalKey = keyof typeof TOTAL_FIGURES

function totalsCard(portfolio: Totals): Html {
  const { currency } = portfolio
  const total = (key: TotalKey): Html => figure(TOTAL_FIGURES[key], key, portfolio[key], currency)
  const missing = incompleteNotice(portfolio)
  return html`<section class="card panel" id="totals" aria-labelledby="totals-title">
  <h2 id="totals-title">Total <span class="muted">in ${currency}</span></h2>
  <p class="price-line"><span class="figure-large">${total('present_value')}</span> <span class="currency">${currency}</span></p>
  <dl class="totals">
    <div><dt>Today</dt><dd>${total('day_change')} <span class="part">${total('day_change_percent')}</span></dd></div>
    <div><dt>Gain</dt><dd>${total('gain_loss')} <span class="part">${total('gain_loss_percent')}</span></dd></div>
    <div><dt>Invested</dt><dd>${total('invested')}</dd></div>
    <div><dt>Realised gain</dt><dd>${total('realised_gain')}</dd></div>
    <div><dt>Income</dt><dd>${total('income')}</dd></div>
    <div><dt>Expenses</dt><dd>${total('expenses')}</dd></div>
  </dl>
  <p id="missing" class="notice warn"${missing === null ? html` hidden` : ''}>${missing ?? ''}</p>
</section>`
}

type PositionKey = keyof typeof POSITION_FIGURES
const cell = (position: Position, key: PositionKey): Html =>
  figure(POSITION_FIGURES[key], key, position[key], position.currency)

const openCard = (
  positions: readonly Position[],
  currency: string,
): Html => html`<section class="card holdings" aria-labelledby="open-title">
  <h2 id="open-title">Positions</h2>
  <div class="scroll" tabindex="0" role="group" aria-labelledby="open-title">
  <table class="figures" id="open">
    <caption class="hidden">What you hold, valued in ${currency}</caption>
    <thead><tr><th scope="col" class="head">Holding</th><th scope="col" class="head number">Quantity</th><th scope="col" class="head number">Price</th><th scope="col" class="head number">Value</th><th scope="col" class="head number">Gain</th><th scope="col" class="head number">Today</th><th scope="col" class="head number">Invested</th><th scope="col" class="head number">Realised</th><th scope="col" class="head number">P/E</th></tr></thead>
    <tbody>
${positions.map(openRow)}
    </tbody>
  </table>
  </div>
</section>`

const openRow = (position: Position): Html => html`<tr data-asset="${position.asset_id}">
  <th scope="row">${holding(position)}<a class="lots" href="/user/stocks?symbol=${encodeURIComponent(position.symbol)}"><span data-count="lots">${formatLotCount(position.lots)}</span><span class="hidden"> of ${position.symbol}</span></a></th>
  <td class="number">${cell(position, 'quantity')}</td>
  <td class="number">${cell(position, 'cmp')} <span class="currency">${position.cmp_currency}</span><span class="below old" data-note="stale">${position.stale === null ? '' : holdingStaleLabel(position.stale)}</span></td>
  <td class="number strong">${cell(position, 'present_value')}</td>
  <td class="number">${cell(position, 'gain_loss')}<span class="below">${cell(position, 'gain_loss_percent')}</span></td>
  <td class="number">${cell(position, 'day_change')}<span class="below">${cell(position, 'day_change_percent')}</span></td>
  <td class="number">${cell(position, 'invested')}<span class="below muted">${cell(position, 'average_cost')} <span class="unit">each</span></span></td>
  <td class="number">${cell(position, 'realised_gain')}</td>
  <td class="number">${cell(position, 'pe_ratio')}<span class="below muted" data-note="pe">${formatPeDate(position)}</span></td>
</tr>
`

/** The symbol leads to the asset's page; an asset of the user's own has none. */
const holding = ({ asset_id, symbol, name }: Position): Html =>
  html`${asset_id > 0 ? html`<a class="symbol" href="${assetPath(symbol)}">${symbol}</a>` : html`<span class="symbol">${symbol}</span>`} <span class="name muted">${name}</span> `

const closedCard = (
  positions: readonly Position[],
  currency: string,
): Html => html`<section class="card holdings" aria-labelledby="closed-title">
  <h2 id="closed-title">Closed, and what belongs to no holding</h2>
  <div class="scroll" tabindex="0" role="group" aria-labelledby="closed-title">
  <table class="figures" id="closed">
    <caption class="hidden">What you held before, in ${currency}</caption>
    <thead><tr><th scope="col" class="head">Holding</th><th scope="col" class="head number">Realised</th><th scope="col" class="head number">Income</th><th scope="col" class="head number">Expenses</th></tr></thead>
    <tbody>
${positions.map(
  (position) => html`<tr data-asset="${position.asset_id}">
  <th scope="row">${position.asset_id === 0 ? 'Of no holding' : holding(position)}</th>
  <td class="number">${cell(position, 'realised_gain')}</td>
  <td class="number">${cell(position, 'income')}</td>
  <td class="number">${cell(position, 'expenses')}</td>
</tr>
`,
)}
    </tbody>
  </table>
  </div>
</section>`
