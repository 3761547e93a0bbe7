import { html } from 'hono/html'
import { KIND_LABELS } from '../../portfolio/format.ts'
import type { ActivityView } from '../../protocol/activity.ts'
import { ACTIVITY_KINDS, type ActivityKind } from '../../protocol/portfolio.ts'
import { figure } from '../site/figure.ts'
import { type FormState, problemNote, selectField, successNote } from '../site/form.ts'
import { dayText, utcText } from '../site/labels.ts'
import type { Html, Page } from '../site/layout.ts'
import { figuresTable, type PagePosition, pager } from '../site/table.ts'
import { amountField, costFields, formatTimeInput, idempotencyKeyField, symbolField, timeFields } from './lot-forms.ts'
import { symbolLink } from './lots.ts'
import { userNav } from './nav.ts'

/** A page of activities, newest first. `saved` is a message after a success; `now` (unix milliseconds) marks upcoming ones. */
type ActivitiesPage = PagePosition & {
  activities: readonly ActivityView[]
  form: FormState
  saved?: string
  now: number
}

/** The page of a user's activities, with the form to add one. */
export function activitiesPage({ activities, next, first, form, saved, now }: ActivitiesPage): Page {
  const content = html`
${userNav('/user/activities')}
<div class="title-row"><h1>Activities</h1><p class="note">Everything you entered or imported.</p></div>
${successNote(saved)}
<section class="card holdings" aria-labelledby="activities-title">
  <h2 id="activities-title">Newest first</h2>
  ${activities.length === 0 ? html`<p class="empty">No activities yet.</p>` : table(activities, now)}
</section>
${pager({ first, next }, '/user/activities')}
<section class="card panel form-card" id="add" aria-labelledby="add-title">
  <h2 id="add-title">Add an activity</h2>
  ${problemNote(form)}
  <form action="/user/activities#add" method="post" class="by-kind">
  ${idempotencyKeyField(form)}
  <div class="columns">
  ${selectField(form, { name: 'kind', label: 'Type', options: ACTIVITY_KINDS.map((kind) => [kind, KIND_LABELS[kind]] as const) })}
  ${symbolField(form, { required: false, hint: 'Optional for fees, interest and taxes.' })}
  </div>
  <div class="columns not-split">${amountFields(form, true)}</div>
  <div class="columns only-split">${splitFields(form, true)}</div>
  <div class="columns">
  ${timeFields(form)}
  </div>
  <button class="button" type="submit">Add</button>
  </form>
</section>`
  return { title: 'Activities', description: 'Your activities', script: 'stocks', content }
}

/** The list that the form of an activity leads back to. */
export type BackTarget = 'stocks' | 'activities'

function activityFormPage(title: string, back: BackTarget, form: FormState, content: Html): Page {
  const list = back === 'stocks' ? 'lots' : 'activities'
  return {
    title,
    script: 'stocks',
    content: html`
${userNav(`/user/${back}`)}
<div class="card account"><h1>${title}</h1>${problemNote(form)}${content}
<p class="other"><a href="/user/${back}">Back to all ${list}</a></p></div>`,
  }
}

const hiddenFields = ({ version }: ActivityView, back: BackTarget): Html =>
  html`<input type="hidden" name="back" value="${back}">
<input type="hidden" name="version" value="${version}">`

/** The page to change an activity, as it was entered: before later splits. Its kind cannot change. */
export const activityPage = (activity: ActivityView, form: FormState, back: BackTarget): Page =>
  activityFormPage(
    activityTitle(activity),
    back,
    form,
    html`
<form action="/user/activities/${activity.id}" method="post">
${hiddenFields(activity, back)}
${symbolField(form, { required: activity.symbol !== null })}
${activity.kind === 'split' ? splitFields(form, false) : amountFields(form, false)}
${timeFields(form, false)}
<button class="button" type="submit">Save</button>
</form>
<p class="other"><a href="/user/activities/${activity.id}/delete?back=${back}">Delete</a></p>`,
  )

/** The page that asks before an activity is deleted. */
export function deletePage(activity: ActivityView, form: FormState, back: BackTarget): Page {
  const { id, kind, symbol, traded_at } = activity
  return activityFormPage(
    `Delete this ${KIND_NOUNS[kind] ?? KIND_LABELS[kind].toLowerCase()}${symbol === null ? '' : ` of ${symbol}`} (${dayText(traded_at)})?`,
    back,
    form,
    html`
<p>This can't be undone.${kind === 'buy' ? ' If you sold it, record a sale instead.' : ''}</p>
<form action="/user/activities/${id}/delete" method="post">
${hiddenFields(activity, back)}
<button class="button danger" type="submit">Delete</button>
</form>`,
  )
}

/** Kinds whose label is not a noun. */
const KIND_NOUNS: Partial<Record<ActivityKind, string>> = {
  buy: 'purchase',
  sell: 'sale',
  transfer_in: 'transfer',
  transfer_out: 'transfer',
}

/** The values of an activity's form. */
export const formValues = (activity: ActivityView): Record<string, string> => ({
  symbol: activity.symbol ?? '',
  quantity: activity.quantity,
  price: activity.price,
  fees: activity.fees,
  currency: activity.currency,
  traded_at: formatTimeInput(activity.traded_at),
  note: activity.note ?? '',
  split_numerator: activity.split?.numerator ?? '',
  split_denominator: activity.split?.denominator ?? '',
})

const activityTitle = ({ kind, symbol, traded_at }: ActivityView): string =>
  `${KIND_LABELS[kind]}${symbol === null ? '' : ` ${symbol}`}, ${dayText(traded_at)}`

/** @param isNew the form of a new activity, for which some fields have defaults */
const amountFields = (form: FormState, isNew: boolean): Html => html`
${amountField(form, { name: 'quantity', label: 'Quantity', required: !isNew, hint: isNew ? 'Leave empty for fees, interest and taxes.' : undefined })}
${amountField(form, { name: 'price', label: 'Price or amount', required: !isNew })}
${costFields(form, isNew)}`

const splitFields = (form: FormState, isNew: boolean): Html => html`
${amountField(form, { name: 'split_numerator', label: 'New shares', required: !isNew })}
${amountField(form, { name: 'split_denominator', label: 'for each … old shares', required: !isNew })}`

const table = (activities: readonly ActivityView[], now: number): Html =>
  figuresTable({
    labelledBy: 'activities-title',
    caption: 'Your activities',
    columns: { before: ['When', 'Type', 'Asset'], numbers: AMOUNT_COLUMNS, after: ['Note', 'Actions'] },
    rows: activities.map((activity) => row(activity, now)),
  })

function row(activity: ActivityView, now: number): Html {
  const { id, kind, symbol, asset_id, traded_at, note } = activity
  const at = Date.parse(traded_at)
  return html`<tr>
  <th scope="row"><time datetime="${traded_at}" title="${utcText(at)}">${traded_at.slice(0, 10)}</time>${at > now ? html`<span class="below old">upcoming</span>` : ''}</th>
  <td>${KIND_LABELS[kind]}</td>
  <td>${symbol === null ? '' : symbolLink({ asset_id, symbol })}</td>
  ${amountCells(activity)}
  <td class="note-text muted">${note ?? ''}</td>
  <td class="ways"><a href="/user/activities/${id}">Edit<span class="hidden"> ${activityTitle(activity)}</span></a> <a href="/user/activities/${id}/delete">Delete<span class="hidden"> ${activityTitle(activity)}</span></a></td>
</tr>
`
}

/** The headings of `amountCells`. */
export const AMOUNT_COLUMNS = ['Quantity', 'Price', 'Fees'] as const

/** The cells with an activity's amounts, or with the ratio of a split. */
export const amountCells = ({
  quantity,
  price,
  fees,
  currency,
  split,
}: Pick<ActivityView, 'quantity' | 'price' | 'fees' | 'currency' | 'split'>): Html =>
  split === null
    ? html`<td class="number">${figure('quantity', '', quantity, '')}</td>
  <td class="number">${figure('price', '', price, '')} <span class="currency">${currency}</span></td>
  <td class="number">${figure('price', '', fees, '')}</td>`
    : html`<td class="number" colspan="3">${split.numerator} for ${split.denominator}</td>`
