import { html } from 'hono/html'
import { formatFigure } from '../../portfolio/format.ts'
import type { Sale } from '../../protocol/activity.ts'
import { MAX_NOTE_CHARS } from '../../protocol/lot-input.ts'
import type { LotView } from '../../protocol/portfolio.ts'
import { figure } from '../site/figure.ts'
import { type Field, type FormFields, type FormState, field, problemNote, selectField } from '../site/form.ts'
import { dayText } from '../site/labels.ts'
import type { Html, Page } from '../site/layout.ts'
import { figuresTable } from '../site/table.ts'
import { userNav } from './nav.ts'

/** Longest decimal and symbol in a field, characters. */
const MAX_INPUT_LENGTH = 100

/** An RFC 3339 time in the format of a `datetime-local` field: without zone, in UTC. */
export const formatTimeInput = (time: string): string => time.replace(/Z$/, '').replace(/(T\d\d:\d\d):00$/, '$1')

/** The text of such a field as an RFC 3339 time. Other text is left for the schema to refuse. */
export function parseTimeInput(text: string): string {
  const [, day, minute, rest = ':00'] =
    /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?)?$/.exec(text.trim()) ?? []
  if (day === undefined) return text.trim()
  return minute === undefined ? `${day}T00:00:00Z` : `${day}T${minute}${rest}Z`
}

/** A field for a decimal as text. */
export const amountField = (form: FormState, options: Field): Html =>
  field(form, { ...options, decimal: true, maxLength: MAX_INPUT_LENGTH })

/**
 * The fields for fees and currency.
 * @param isNew the form of a new activity, for which they have defaults
 */
export const costFields = (form: FormState, isNew = true): Html => html`
${amountField(form, { name: 'fees', label: 'Fees', required: false, hint: 'Total fees. Leave empty if none.' })}
${field(form, { name: 'currency', label: 'Currency', maxLength: 12, required: !isNew, hint: isNew ? "Defaults to the asset's currency." : 'Of price and fees.' })}`

/** The fields for the time and a note. @param isNew as in `costFields` */
export const timeFields = (form: FormState, isNew = true): Html => html`
${field(form, { name: 'traded_at', label: 'When (UTC)', type: 'datetime-local', required: !isNew, hint: isNew ? 'Defaults to now.' : undefined })}
${field(form, { name: 'note', label: 'Note', maxLength: MAX_NOTE_CHARS, required: false })}`

/** A field for a symbol, with suggestions if scripts run. */
export const symbolField = (form: FormState, options: Pick<Field, 'required' | 'hint'> = {}): Html =>
  html`${field(form, { name: 'symbol', label: 'Symbol', maxLength: MAX_INPUT_LENGTH, list: 'symbols', ...options })}
<datalist id="symbols"></datalist>`

/** A form that is sent twice with the same idempotency key is written once. A form that comes back has its key again. */
export const idempotencyKeyField = ({ values }: FormState): Html =>
  html`<input type="hidden" name="key" value="${values.key ?? crypto.randomUUID()}">`

/** The form for a purchase. */
export const addLotForm = (
  form: FormState,
): Html => html`<section class="card panel form-card" id="add" aria-labelledby="add-title">
  <h2 id="add-title">Add a purchase</h2>
  ${problemNote(form)}
  <form action="/user/stocks#add" method="post">
  <div class="columns">
  ${idempotencyKeyField(form)}
  ${symbolField(form, { hint: 'e.g. AAPL or BTC-USD' })}
  ${amountField(form, { name: 'quantity', label: 'Quantity' })}
  ${amountField(form, { name: 'price', label: 'Price per share' })}
  ${costFields(form)}
  ${timeFields(form)}
  </div>
  <button class="button" type="submit">Add</button>
  </form>
</section>`

/** The page to sell from a lot; with a preview of the sale also the button that sells. */
export function sellPage(lot: LotView, form: FormState, preview: Sale | null): Page {
  const title = `Sell ${lot.symbol}`
  const content = html`
${userNav('/user/stocks')}
<div class="card account wide"><h1>${title}</h1>
${problemNote(form)}
${preview === null ? lotFacts(lot) : previewCard(preview)}
<form action="/user/stocks/${lot.id}/sell" method="post">
${idempotencyKeyField(form)}
${preview === null ? '' : html`<input type="hidden" name="previewed" value="${previewKey(form.values)}">`}
${selectField(form, {
  name: 'take',
  label: 'Lots to sell',
  options: [
    ['lot', `This lot (${dayText(lot.traded_at)})`],
    ['fifo', 'Oldest first (FIFO)'],
  ],
})}
${amountField(form, { name: 'quantity', label: 'Quantity' })}
${amountField(form, { name: 'price', label: 'Price per share' })}
${costFields(form)}
${timeFields(form)}
<button class="button" type="submit" name="step" value="preview">${preview === null ? 'Preview' : 'Preview again'}</button>
${preview === null ? '' : html`<button class="button" type="submit" name="step" value="sell">Sell</button>`}
</form>
<p class="other"><a href="/user/stocks">Back to all lots</a></p></div>`
  return { title, content }
}

const lotFacts = (lot: LotView): Html => html`<dl>
    <div><dt>Open</dt><dd>${figure('quantity', '', lot.quantity, '')} of ${formatFigure('quantity', lot.opened_quantity, '')}</dd></div>
    <div><dt>Price paid</dt><dd>${figure('price', '', lot.price, '')} ${lot.currency}</dd></div>
    <div><dt>Bought</dt><dd>${formatTimeInput(lot.traded_at).replace('T', ' ')} UTC</dd></div>
  </dl>`

const PREVIEWED_FIELDS = ['take', 'quantity', 'price', 'fees', 'currency', 'traded_at'] as const

/** The values that a preview was made for. A sale with other values is previewed first. */
export const previewKey = (values: FormFields): string =>
  PREVIEWED_FIELDS.map((name) => (values[name] ?? '').trim()).join('|')

function previewCard({ lots, portfolio }: Sale): Html {
  const { currency, realised_gain: gain, proceeds } = portfolio
  const isLoss = gain?.startsWith('-')
  const shown = gain === null ? undefined : formatFigure('money', gain.replace('-', ''), currency)
  return html`<section id="preview" aria-labelledby="preview-title">
  <h2 id="preview-title">Preview</h2>
  <p class="notice" role="status">This sale would realise a ${isLoss ? 'loss' : 'gain'} of ${figure('move', '', gain, currency, shown)} ${currency} (proceeds ${figure('money', '', proceeds, currency)} ${currency}).</p>
  ${figuresTable({
    labelledBy: 'preview-title',
    caption: 'Lots of this sale',
    columns: { before: ['Lot'], numbers: ['Quantity', 'Cost', `Gain, ${currency}`] },
    rows: lots.map(
      (each) =>
        html`<tr><th scope="row">${each.traded_at.slice(0, 10)}</th><td class="number">${figure('quantity', '', each.quantity, '')}</td><td class="number">${figure('price', '', each.lot_cost, '')} <span class="currency">${each.lot_currency}</span></td><td class="number">${figure('move', '', each.portfolio.realised_gain, currency)}</td></tr>`,
    ),
  })}
</section>`
}
