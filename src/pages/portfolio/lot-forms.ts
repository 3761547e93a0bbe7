import { html } from 'hono/html'
import { formatFigure } from '../../portfolio/format.ts'
import type { Sale } from '../../protocol/activity.ts'
import { MAX_NOTE_CHARS } from '../../protocol/lot-input.ts'
import type { LotView } from '../../protocol/portfolio.ts'
import { figure } from '../site/figure.ts'
import { type FormState, field, problemNote, selectField } from '../site/form.ts'
import { type Html, layout, type Site } from '../site/layout.ts'
import { userNav } from './nav.ts'

/** Longest decimal and symbol that a field takes, characters. */
const MAX_INPUT_LENGTH = 100

/** A time as a browser's field has it: without zone, in UTC. */
export const formatTimeInput = (time: string): string => time.replace(/Z$/, '').replace(/(T\d\d:\d\d):00$/, '$1')

/** What such a field says, in RFC 3339; what is no time stays to be refused. */
export function parseTimeInput(text: string): string {
  const [, day, minute, rest = ':00'] =
    /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?)?$/.exec(text.trim()) ?? []
  if (day === undefined) return text.trim()
  return minute === undefined ? `${day}T00:00:00Z` : `${day}T${minute}${rest}Z`
}

type AmountField = { name: string; label: string; hint?: string; required?: boolean }

/** A field of an amount: decimal text, which no browser turns into a number. */
export const amountField = (form: FormState, each: AmountField): Html =>
  field(form, { ...each, type: 'text', autocomplete: 'off', decimal: true, maxLength: MAX_INPUT_LENGTH })

/** Of a new activity some fields have a value when they are left empty; of one that is there, they have theirs. */
type Filled = { filled?: boolean }

export const feesField = (form: FormState): Html =>
  amountField(form, { name: 'fees', label: 'Fees', required: false, hint: 'Of the whole; empty is none.' })

export const currencyField = (form: FormState, { filled = false }: Filled = {}): Html =>
  field(form, {
    name: 'currency',
    label: 'Currency',
    type: 'text',
    autocomplete: 'off',
    maxLength: 12,
    required: filled,
    hint: filled ? 'Of price and fees.' : 'Empty is that of the asset.',
  })

export const whenField = (form: FormState, { filled = false }: Filled = {}): Html =>
  field(form, {
    name: 'traded_at',
    label: 'When (UTC)',
    type: 'datetime-local',
    autocomplete: 'off',
    required: filled,
    ...(!filled && { hint: 'Empty is now.' }),
  })

export const noteField = (form: FormState): Html =>
  field(form, {
    name: 'note',
    label: 'Note',
    type: 'text',
    autocomplete: 'off',
    maxLength: MAX_NOTE_CHARS,
    required: false,
  })

/** A field for a symbol, with suggestions where scripts run. */
export const symbolField = (form: FormState, more: { required?: boolean; hint?: string } = {}): Html =>
  html`${field(form, { name: 'symbol', label: 'Symbol', type: 'text', autocomplete: 'off', maxLength: MAX_INPUT_LENGTH, list: 'symbols', ...more })}
<datalist id="symbols"></datalist>`

/** Made once for each form: what is sent twice by mistake is written once. What came back keeps its own. */
export const idempotencyKeyField = ({ values }: FormState, key: string): Html =>
  html`<input type="hidden" name="key" value="${values.key ?? key}">`

/** The form to add a lot with. @param key for `keyField` */
export const addLotForm = (
  form: FormState,
  key: string,
): Html => html`<section class="card panel form-card" id="add" aria-labelledby="add-title">
  <h2 id="add-title">Add what you bought</h2>
  ${problemNote(form)}
  <form action="/user/stocks#add" method="post">
  <div class="columns">
  ${idempotencyKeyField(form, key)}
  ${symbolField(form, { hint: 'As on its market, such as AAPL or BTC-USD.' })}
  ${amountField(form, { name: 'quantity', label: 'Quantity' })}
  ${amountField(form, { name: 'price', label: 'Price each' })}
  ${feesField(form)}
  ${currencyField(form)}
  ${whenField(form)}
  ${noteField(form)}
  </div>
  <button class="button" type="submit">Add</button>
  </form>
</section>`

/** What the page to sell on shows; `preview` is what the sale would do. `key` for `keyField`. */
export type SellPage = { lot: LotView; form: FormState; preview: Sale | null; key: string }

/** The page to sell on; with a preview also the button that does it. */
export function sellPage(site: Site, { lot, form, preview, key }: SellPage): Html {
  const title = `Sell ${lot.symbol}`
  const content = html`
${userNav('/user/stocks')}
<div class="card account wide"><h1>${title}</h1>
${problemNote(form)}
${preview === null ? lotFacts(lot) : previewCard(preview)}
<form action="/user/stocks/${lot.id}/sell" method="post">
${idempotencyKeyField(form, key)}
${preview === null ? '' : html`<input type="hidden" name="previewed" value="${previewKey(form.values)}">`}
${selectField(form, {
  name: 'take',
  label: 'Which lots',
  options: [
    ['lot', `This lot, of ${lot.traded_at.slice(0, 10)}`],
    ['fifo', 'The oldest first'],
  ],
})}
${amountField(form, { name: 'quantity', label: 'Quantity' })}
${amountField(form, { name: 'price', label: 'Sold at, each' })}
${feesField(form)}
${currencyField(form)}
${whenField(form)}
${noteField(form)}
<button class="button" type="submit" name="step" value="preview">${preview === null ? 'Preview' : 'Preview again'}</button>
${preview === null ? '' : html`<button class="button" type="submit" name="step" value="sell">Sell</button>`}
</form>
<p class="other"><a href="/user/stocks">Back to all lots</a></p></div>`
  return layout(site, { title: `${title} · Kerb`, description: title, script: null, content })
}

const lotFacts = (lot: LotView): Html => html`<dl>
    <div><dt>Open</dt><dd>${figure('quantity', '', lot.quantity, '')} of ${formatFigure('quantity', lot.opened_quantity, '')}</dd></div>
    <div><dt>Paid each</dt><dd>${figure('price', '', lot.price, '')} ${lot.currency}</dd></div>
    <div><dt>Traded at</dt><dd>${formatTimeInput(lot.traded_at).replace('T', ' ')} UTC</dd></div>
  </dl>`

const PREVIEWED_FIELDS = ['take', 'quantity', 'price', 'fees', 'currency', 'traded_at'] as const

/** What a preview was made of: a sale of something else is previewed first. */
export const previewKey = (values: Readonly<Record<string, string>>): string =>
  PREVIEWED_FIELDS.map((name) => (values[name] ?? '').trim()).join('|')

function previewCard({ lots, portfolio }: Sale): Html {
  const { currency, realised_gain, proceeds } = portfolio
  return html`<section id="preview" aria-labelledby="preview-title">
  <h2 id="preview-title">What this sale would do</h2>
  <p class="notice" role="status">It realises a gain of ${figure('move', '', realised_gain, currency)} ${currency}, for ${figure('money', '', proceeds, currency)} ${currency}. Nothing is sold yet.</p>
  <div class="scroll" tabindex="0" role="group" aria-labelledby="preview-title">
  <table class="figures">
    <caption class="hidden">Lots that it takes</caption>
    <thead><tr><th scope="col" class="head">Lot of</th><th scope="col" class="head number">Quantity</th><th scope="col" class="head number">Cost</th><th scope="col" class="head number">Gain, ${currency}</th></tr></thead>
    <tbody>
${lots.map((each) => html`<tr><th scope="row">${each.traded_at.slice(0, 10)}</th><td class="number">${figure('quantity', '', each.quantity, '')}</td><td class="number">${figure('price', '', each.lot_cost, '')} <span class="currency">${each.lot_currency}</span></td><td class="number">${figure('move', '', each.portfolio.realised_gain, currency)}</td></tr>`)}
    </tbody>
  </table>
  </div>
</section>`
}
