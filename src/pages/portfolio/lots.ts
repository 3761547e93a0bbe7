import { html } from 'hono/html'
import { formatFigure, LOT_FIGURES } from '../../portfolio/format.ts'
import type { LotView, PortfolioPrice } from '../../protocol/portfolio.ts'
import { assetPath } from '../assets/asset.ts'
import { figure } from '../site/figure.ts'
import { type FormState, successNote } from '../site/form.ts'
import { dayText, utcText } from '../site/labels.ts'
import { announcements, connectionBadge, type Html, type Page } from '../site/layout.ts'
import { figuresTable, type PagePosition, pager } from '../site/table.ts'
import { addLotForm } from './lot-forms.ts'
import { userNav } from './nav.ts'

/** Lots and what their values are calculated from. The page's script calculates them again at newer prices. */
export type LotData = { currency: string; version: number; lots: LotView[]; prices: PortfolioPrice[] }

/** A page of lots, newest first. `symbol` filters them unless it is empty; `saved` is a message after a success. */
type LotsPage = PagePosition & { data: LotData; symbol: string; form: FormState; saved?: string }

/** The page of a user's open lots, with the form to add one. Its script updates their values with the prices. */
export function lotsPage({ data, next, first, symbol, form, saved }: LotsPage): Page {
  const { lots, currency } = data
  const content = html`
${userNav('/user/stocks')}
<div class="title-row"><h1>Lots</h1>${connectionBadge()}
${announcements}</div>
${successNote(saved)}
<form class="search" role="search" action="/user/stocks" method="get">
  <label for="of">Filter by symbol</label>
  <input id="of" name="symbol" type="search" value="${symbol}" maxlength="100" autocomplete="off" spellcheck="false" autocapitalize="characters">
  <button class="button" type="submit">Filter</button>
  ${symbol === '' ? '' : html`<a href="/user/stocks">All lots</a>`}
</form>
<section class="card holdings" id="lots" aria-labelledby="lots-title" data-written="${JSON.stringify(data)}">
  <h2 id="lots-title">Your lots, newest first</h2>
  ${lots.length === 0 ? html`<p class="empty">${symbol === '' ? 'No lots yet. Add your first purchase below.' : html`No open lots for “${symbol}”.`}</p>` : lotTable(lots, currency)}
</section>
${pager({ first, next }, '/user/stocks', { symbol })}
<p class="note">Dividends, fees, splits and transfers: <a href="/user/activities">your activities</a>. <a href="/user/import">Import from a file</a>.</p>
${addLotForm(form.values.symbol === undefined ? { ...form, values: { ...form.values, symbol } } : form)}`
  return { title: 'Lots', description: 'Your lots', script: 'stocks', content }
}

const lotTable = (lots: readonly LotView[], currency: string): Html =>
  figuresTable({
    labelledBy: 'lots-title',
    caption: `Open lots; value, gain and today's change in ${currency}`,
    columns: {
      before: ['Lot'],
      numbers: ['Quantity', 'Price paid', 'Fees', 'Invested', 'Value', 'Gain', 'Today'],
      after: ['Actions'],
    },
    rows: lots.map((lot) => lotRow(lot, currency)),
  })

function lotRow(lot: LotView, currency: string): Html {
  const cell = (key: keyof typeof LOT_FIGURES): Html => figure(LOT_FIGURES[key], key, lot[key], currency)
  const actions = [
    [`/user/activities/${lot.id}?back=stocks`, 'Edit'],
    [`/user/stocks/${lot.id}/sell`, 'Sell'],
    [`/user/activities/${lot.id}/delete?back=stocks`, 'Delete'],
  ] as const
  return html`<tr data-lot="${lot.id}" data-asset="${lot.asset_id}">
  <th scope="row">${symbolLink(lot)} <time class="below muted" datetime="${lot.traded_at}" title="${utcText(Date.parse(lot.traded_at))}">${lot.traded_at.slice(0, 10)}</time>${lot.note === null ? '' : html`<span class="below muted note-text">${lot.note}</span>`}</th>
  <td class="number">${cell('quantity')}<span class="below muted">${lot.quantity === lot.opened_quantity ? '' : `of ${formatFigure('quantity', lot.opened_quantity, '')}`}</span></td>
  <td class="number">${cell('price')} <span class="currency">${lot.currency}</span></td>
  <td class="number">${cell('fees')}</td>
  <td class="number">${cell('invested')}</td>
  <td class="number strong">${cell('present_value')}</td>
  <td class="number">${cell('gain_loss')}<span class="below">${cell('gain_loss_percent')}</span></td>
  <td class="number">${cell('day_change')}</td>
  <td class="ways">${actions.map(([path, name]) => html`<a href="${path}">${name}<span class="hidden"> ${lot.symbol}, ${dayText(lot.traded_at)}</span></a> `)}</td>
</tr>
`
}

/** The symbol as a link to the asset's page. A custom asset (its id is negative) has none. */
export const symbolLink = ({ asset_id, symbol }: { asset_id: number | null; symbol: string }): Html =>
  asset_id !== null && asset_id < 0
    ? html`<span class="symbol">${symbol}</span>`
    : html`<a class="symbol" href="${assetPath(symbol)}">${symbol}</a>`
