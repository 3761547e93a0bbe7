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
import { figure } from '../site/figure.ts'
import { utcText } from '../site/labels.ts'
import { announcements, connectionBadge, type Html, type Page } from '../site/layout.ts'
import { figuresTable } from '../site/table.ts'
import { symbolLink } from './lots.ts'
import { userNav } from './nav.ts'
import { valueCard } from './value-card.ts'

/** The overview of a user's portfolio. `history` is null if it cannot be read now. */
type UserPage = {
  profile: Profile
  portfolio: Totals
  positions: readonly Position[]
  range: HistoryRange
  history: ValueHistory | null
}

/** The first page of the signed-in user. Its script updates the figures over the portfolio's socket. */
export const userPage = ({ profile, portfolio, positions, range, history }: UserPage): Page => ({
  title: 'Overview',
  description: 'Your portfolio',
  script: 'user',
  content: html`
${userNav('/user')}
<div class="title-row"><h1>Hello${profile.name === '' ? '' : html`, ${profile.name}`}</h1>${connectionBadge()}
${announcements}</div>
<div id="portfolio" data-version="${portfolio.version}">
${positions.length === 0 ? emptyPortfolio : portfolioCards(portfolio, positions)}
</div>
<div id="values">${positions.length === 0 ? '' : valueCard(range, history)}</div>
<div class="card panel">
  <h2>Your account</h2>
  <dl>
    <div><dt>Email</dt><dd>${profile.email}</dd></div>
    <div><dt>Currency</dt><dd>${profile.currency}</dd></div>
    <div><dt>Price refresh interval</dt><dd>${profile.refresh_interval_seconds === null ? 'default' : `every ${profile.refresh_interval_seconds} s`}</dd></div>
    <div><dt>Member since</dt><dd><time datetime="${profile.created_at}">${utcText(Date.parse(profile.created_at)).slice(0, 10)}</time></dd></div>
  </dl>
  <p><a href="/user/profile">Change your profile</a></p>
</div>`,
})

const emptyPortfolio: Html = html`<div class="card panel">
  <h2>Your portfolio is empty</h2>
  <p><a class="button" href="/user/stocks#add">Add your first holding</a></p>
  <p>Or <a href="/user/import">import</a> a file from your broker or another app. You can also explore <a href="/">live markets</a> and <a href="/assets">prices</a> of stocks, funds, currencies and crypto.</p>
</div>`

function portfolioCards(portfolio: Totals, positions: readonly Position[]): Html {
  const open = positions.filter(({ lots }) => lots > 0)
  const closed = positions.filter(({ asset_id, lots }) => asset_id !== 0 && lots === 0)
  const unassigned = positions.filter(({ asset_id }) => asset_id === 0)
  return html`${totalsCard(portfolio)}
${open.length === 0 ? '' : openCard(open, portfolio.currency)}
${closed.length + unassigned.length === 0 ? '' : closedCard([...closed, ...unassigned], portfolio.currency)}`
}

function totalsCard(portfolio: Totals): Html {
  const { currency } = portfolio
  const total = (key: keyof typeof TOTAL_FIGURES): Html => figure(TOTAL_FIGURES[key], key, portfolio[key], currency)
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

const cell = (position: Position, key: keyof typeof POSITION_FIGURES): Html =>
  figure(POSITION_FIGURES[key], key, position[key], position.currency)

const openCard = (
  positions: readonly Position[],
  currency: string,
): Html => html`<section class="card holdings" aria-labelledby="open-title">
  <h2 id="open-title">Positions</h2>
  ${figuresTable({
    id: 'open',
    labelledBy: 'open-title',
    caption: `Your holdings, valued in ${currency}`,
    columns: {
      before: ['Holding'],
      numbers: ['Quantity', 'Price', 'Value', 'Gain', 'Today', 'Invested', 'Realised', 'P/E'],
    },
    rows: positions.map(openRow),
  })}
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

const holding = (position: Position): Html =>
  html`${symbolLink(position)} <span class="name muted">${position.name}</span> `

const closedCard = (
  positions: readonly Position[],
  currency: string,
): Html => html`<section class="card holdings" aria-labelledby="closed-title">
  <h2 id="closed-title">Closed positions and other income</h2>
  ${figuresTable({
    id: 'closed',
    labelledBy: 'closed-title',
    caption: `Closed positions and other income, in ${currency}`,
    columns: { before: ['Holding'], numbers: ['Realised', 'Income', 'Expenses'] },
    rows: positions.map(
      (position) => html`<tr data-asset="${position.asset_id}">
  <th scope="row">${position.asset_id === 0 ? 'Unassigned' : holding(position)}</th>
  <td class="number">${cell(position, 'realised_gain')}</td>
  <td class="number">${cell(position, 'income')}</td>
  <td class="number">${cell(position, 'expenses')}</td>
</tr>
`,
    ),
  })}
</section>`
