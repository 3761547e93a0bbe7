import { html } from 'hono/html'
import { KIND_LABELS } from '../../portfolio/format.ts'
import type { ActivityView } from '../../protocol/activity.ts'
import { ACTIVITY_KINDS } from '../../protocol/portfolio.ts'
import { assetPath } from '../assets/asset.ts'
import { figure } from '../site/figure.ts'
import { type FormState, problemNote, selectField, successNote } from '../site/form.ts'
import { utcText } from '../site/labels.ts'
import { type Html, layout, type Site } from '../site/layout.ts'
import {
  amountField,
  currencyField,
  feesField,
  formatTimeInput,
  idempotencyKeyField,
  noteField,
  symbolField,
  whenField,
} from './lot-forms.ts'
import { userNav } from './nav.ts'

/** Activities of one page, newest first; `next` leads to the page after it, null: there is none. */
export type ActivitiesPage = {
  activities: readonly ActivityView[]
  next: string | null
  first: boolean
  form: FormState
  /** For `keyField`. */
  key: string
  saved: string | null
  /** Unix milliseconds: what is yet to come is marked. */
  now: number
}

/** The page of what somebody did, with the form to enter more. */
export function activitiesPage(site: Site, { activities, next, first, form, key, saved, now }: ActivitiesPage): Html {
  const content = html`
${userNav('/user/activities')}
<div class="title-row"><h1>Activities</h1><p class="note">All that was entered or imported. Your lots follow from it.</p></div>
${successNote(saved)}
<section class="card holdings" aria-labelledby="activities-title">
  <h2 id="activities-title">The newest first</h2>
  ${activities.length === 0 ? html`<p class="empty">Nothing yet.</p>` : table(activities, now)}
</section>
<p class="pager">${first ? '' : html`<a href="/user/activities">From the beginning</a> `}${next === null ? '' : html`<a href="/user/activities?after=${encodeURIComponent(next)}" rel="next">More</a>`}</p>
<section class="card panel form-card" id="add" aria-labelledby="add-title">
  <h2 id="add-title">Add an activity</h2>
  ${problemNote(form)}
  <form action="/user/activities#add" method="post" class="by-kind">
  ${idempotencyKeyField(form, key)}
  <div class="columns">
  ${selectField(form, { name: 'kind', label: 'What', options: ACTIVITY_KINDS.map((kind) => [kind, KIND_LABELS[kind]] as const) })}
  ${symbolField(form, { required: false, hint: 'A fee, interest or a tax may have none.' })}
  </div>
  <div class="columns not-split">${amountFields(form, false)}</div>
  <div class="columns only-split">${splitFields(form, false)}</div>
  <div class="columns">
  ${whenField(form)}
  ${noteField(form)}
  </div>
  <button class="button" type="submit">Add</button>
  </form>
</section>`
  return layout(site, { title: 'Activities · Kerb', description: 'Your activities', script: 'stocks', content })
}

/** Where somebody goes from a form of one activity: to what they came from. */
export type BackTarget = 'stocks' | 'activities'

const backLink = (back: BackTarget): Html =>
  html`<p class="other"><a href="/user/${back}">${back === 'stocks' ? 'Back to all lots' : 'Back to all activities'}</a></p>`
const backField = (back: BackTarget): Html => html`<input type="hidden" name="back" value="${back}">`

const activityLayout = (site: Site, title: string, back: BackTarget, content: Html): Html =>
  layout(site, {
    title: `${title} · Kerb`,
    description: title,
    script: 'stocks',
    content: html`
${userNav(`/user/${back}`)}
<div class="card account"><h1>${title}</h1>${content}
${backLink(back)}</div>`,
  })

/** The page to change an activity on: as it was entered, before later splits. What it was stays. */
export const activityPage = (site: Site, activity: ActivityView, form: FormState, back: BackTarget): Html =>
  activityLayout(
    site,
    activityTitle(activity),
    back,
    html`${problemNote(form)}
<form action="/user/activities/${activity.id}" method="post">
${backField(back)}
<input type="hidden" name="version" value="${activity.version}">
${symbolField(form, { required: activity.symbol !== null })}
${activity.kind === 'split' ? splitFields(form, true) : amountFields(form, true)}
${whenField(form, { filled: true })}
${noteField(form)}
<button class="button" type="submit">Save</button>
</form>
<p class="other"><a href="/user/activities/${activity.id}/delete?back=${back}">Delete it</a></p>`,
  )

/** The page that asks whether an activity is to be deleted. */
export const deletePage = (site: Site, activity: ActivityView, form: FormState, back: BackTarget): Html =>
  activityLayout(
    site,
    `Delete ${activityTitle(activity)}?`,
    back,
    html`${problemNote(form)}
<p>It is gone then, as if it had never been.${activity.kind === 'buy' ? ' What you sold is to be sold here, too, not deleted.' : ''}</p>
<form action="/user/activities/${activity.id}/delete" method="post">
${backField(back)}
<input type="hidden" name="version" value="${activity.version}">
<button class="button danger" type="submit">Delete</button>
</form>`,
  )

/** An activity's fields as a form has them. */
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
  `${KIND_LABELS[kind]}${symbol === null ? '' : ` ${symbol}`} of ${traded_at.slice(0, 10)}`

/** @param filled of an activity that is there: each field has its value; of a new one some may be left empty */
const amountFields = (form: FormState, filled: boolean): Html => html`
${amountField(form, { name: 'quantity', label: 'Quantity', required: filled, ...(!filled && { hint: 'Shares; of a fee, interest or a tax empty is 1.' }) })}
${amountField(form, { name: 'price', label: 'Price or amount each', required: filled })}
${feesField(form)}
${currencyField(form, { filled })}`

const splitFields = (form: FormState, filled: boolean): Html => html`
${amountField(form, { name: 'split_numerator', label: 'New shares', required: filled })}
${amountField(form, { name: 'split_denominator', label: 'for so many old ones', required: filled })}`

const table = (
  activities: readonly ActivityView[],
  now: number,
): Html => html`<div class="scroll" tabindex="0" role="group" aria-labelledby="activities-title">
  <table class="figures">
    <caption class="hidden">Your activities</caption>
    <thead><tr><th scope="col" class="head">When</th><th scope="col" class="head">What</th><th scope="col" class="head">Asset</th><th scope="col" class="head number">Quantity</th><th scope="col" class="head number">Price</th><th scope="col" class="head number">Fees</th><th scope="col" class="head">Note</th><th scope="col" class="head">To do</th></tr></thead>
    <tbody>
${activities.map((activity) => row(activity, now))}
    </tbody>
  </table>
  </div>`

function row(activity: ActivityView, now: number): Html {
  const { id, kind, symbol, asset_id, quantity, price, fees, currency, traded_at, split, note } = activity
  const to = Date.parse(traded_at)
  const own = asset_id !== null && asset_id < 0
  return html`<tr>
  <th scope="row"><time datetime="${traded_at}" title="${utcText(to)}">${traded_at.slice(0, 10)}</time>${to > now ? html`<span class="below old">yet to come</span>` : ''}</th>
  <td>${KIND_LABELS[kind]}</td>
  <td>${symbol === null ? '' : own ? html`<span class="symbol">${symbol}</span>` : html`<a class="symbol" href="${assetPath(symbol)}">${symbol}</a>`}</td>
  ${
    split === null
      ? html`<td class="number">${figure('quantity', '', quantity, '')}</td>
  <td class="number">${figure('price', '', price, '')} <span class="currency">${currency}</span></td>
  <td class="number">${figure('price', '', fees, '')}</td>`
      : html`<td class="number" colspan="3">${split.numerator} for ${split.denominator}</td>`
  }
  <td class="note-text muted">${note ?? ''}</td>
  <td class="ways"><a href="/user/activities/${id}">Edit<span class="hidden"> ${activityTitle(activity)}</span></a> <a href="/user/activities/${id}/delete">Delete<span class="hidden"> ${activityTitle(activity)}</span></a></td>
</tr>
`
}
