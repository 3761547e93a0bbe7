import { html } from 'hono/html'
import { formatFigure, LOT_FIGURES } from '../../portfolio/format.ts'
import type { LotView, PortfolioPrice } from '../../protocol/portfolio.ts'
import { assetPath } from '../assets/asset.ts'
import { figure } from '../site/figure.ts'
import { type FormState, successNote } from '../site/form.ts'
import { utcText } from '../site/labels.ts'
import { type Html, layout, type Site } from '../site/layout.ts'
import { addLotForm } from './lot-forms.ts'
import { connectionNote, userNav } from './nav.ts'

/** Lots of one page, newest first; `next` leads to the page after it, null: there is none. */
export type LotsPage = {
  lots: readonly LotView[]
  next: string | null
  first: boolean
  /** That they are of this symbol alone; empty: of all. */
  symbol: string
  /** What the page's script makes the figures of anew. */
  written: { currency: string; version: number; lots: readonly LotView[]; prices: readonly PortfolioPrice[] }
  /** The form to add one, as it came back. */
  form: FormState
  /** For `keyField`. */
  key: string
  saved: string | null
}

/** The page of somebody's lots, with the form to add one: they move with prices where scripts run. */
export function lotsPage(site: Site, page: LotsPage): Html {
  const { lots, next, first, symbol, written, form, key, saved } = page
  const { currency } = written
  const content = html`
${userNav('/user/stocks')}
<div class="title-row"><h1>Lots</h1>${connectionNote}</div>
${successNote(saved)}
<form class="search" role="search" action="/user/stocks" method="get">
  <label for="of">Only of the symbol</label>
  <input id="of" name="symbol" type="search" value="${symbol}" maxlength="100" autocomplete="off" spellcheck="false" autocapitalize="characters">
  <button class="button" type="submit">Show</button>
  ${symbol === '' ? '' : html`<a href="/user/stocks">All lots</a>`}
</form>
<section class="card holdings" id="lots" aria-labelledby="lots-title" data-written="${JSON.stringify(written)}">
  <h2 id="lots-title">What you bought, the newest first</h2>
  ${lots.length === 0 ? html`<p class="empty">${symbol === '' ? 'No lots yet. Add what you own below.' : html`No open lots of “${symbol}”.`}</p>` : lotTable(lots, currency)}
</section>
<p class="pager">${first ? '' : html`<a href="${lotsPath(symbol, null)}">From the beginning</a> `}${next === null ? '' : html`<a href="${lotsPath(symbol, next)}" rel="next">More</a>`}</p>
<p class="note">Dividends, fees, splits and transfers: <a href="/user/activities">your activities</a>. From a file: <a href="/user/import">import</a>.</p>
${addLotForm(form.values.symbol === undefined ? { ...form, values: { ...form.values, symbol } } : form, key)}`
  return layout(site, { title: 'Lots · Kerb', description: 'Your lots', script: 'stocks', content })
}

/** The page of lots of a symbol, or of all, after what another page gave as `next`. */
function lotsPath(symbol: string, after: string | null): string {
  const query = new URLSearchParams({ ...(symbol !== '' && { symbol }), ...(after !== null && { after }) })
  return query.size === 0 ? '/user/stocks' : `/user/stocks?${query}`
}

const lotTable = (
  lots: readonly LotView[],
  currency: string,
): Html => html`<div class="scroll" tabindex="0" role="group" aria-labelledby="lots-title">
  <table class="figures">
    <caption class="hidden">Open lots; value, gain and change of today are in ${currency}</caption>
    <thead><tr><th scope="col" class="head">Lot</th><th scope="col" class="head number">Quantity</th><th scope="col" class="head number">Paid each</th><th scope="col" class="head number">Fees</th><th scope="col" class="head number">Invested</th><th scope="col" class="head number">Value</th><th scope="col" class="head number">Gain</th><th scope="col" class="head number">Today</th><th scope="col" class="head">To do</th></tr></thead>
    <tbody>
${lots.map((lot) => lotRow(lot, currency))}
    </tbody>
  </table>
  </div>`

type LotKey = keyof typeof LOT_FIGURES

function lotRow(lot: LotView, currency: string): Html {
  const cell = (key: LotKey): Html => figure(LOT_FIGURES[key], key, lot[key], currency)
  const what = `${lot.symbol} of ${lot.traded_at.slice(0, 10)}`
  const ways = [
    [`/user/activities/${lot.id}?back=stocks`, 'Edit'],
    [`/user/stocks/${lot.id}/sell`, 'Sell'],
    [`/user/activities/${lot.id}/delete?back=stocks`, 'Delete'],
  ] as const
  return html`<tr data-lot="${lot.id}" data-asset="${lot.asset_id}">
  <th scope="row">${lot.asset_id > 0 ? html`<a class="symbol" href="${assetPath(lot.symbol)}">${lot.symbol}</a>` : html`<span class="symbol">${lot.symbol}</span>`} <time class="below muted" datetime="${lot.traded_at}" title="${utcText(Date.parse(lot.traded_at))}">${lot.traded_at.slice(0, 10)}</time>${lot.note === null ? '' : html`<span class="below muted note-text">${lot.note}</span>`}</th>
  <td class="number">${cell('quantity')}<span class="below muted">${lot.quantity === lot.opened_quantity ? '' : `of ${formatFigure('quantity', lot.opened_quantity, '')}`}</span></td>
  <td class="number">${cell('price')} <span class="currency">${lot.currency}</span></td>
  <td class="number">${cell('fees')}</td>
  <td class="number">${cell('invested')}</td>
  <td class="number strong">${cell('present_value')}</td>
  <td class="number">${cell('gain_loss')}<span class="below">${cell('gain_loss_percent')}</span></td>
  <td class="number">${cell('day_change')}</td>
  <td class="ways">${ways.map(([path, name]) => html`<a href="${path}">${name}<span class="hidden"> ${what}</span></a> `)}</td>
</tr>
`
}
