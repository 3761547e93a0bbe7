import { html } from 'hono/html'
import type { Audit } from '../../db/audits.ts'
import { matchRate } from '../../market/audit.ts'
import { GRANULARITY_TEXT, utcText } from '../site/labels.ts'
import type { Html, Page } from '../site/layout.ts'

/**
 * The page of audits: a row for each product and day, the newest day first; with `detail`, a row for each granularity of
 * that product and day.
 */
export function auditPage(audits: readonly Audit[], detail: { product: string; day: string } | null): Page {
  const title = detail === null ? 'Audit' : `Audit of ${detail.product}, ${detail.day}`
  const content = html`
<div class="title-row">
  <h1>${title}</h1>
  <p class="note">Each day is audited 7 minutes after it ends (UTC). Candles that differ or are missing on either side count as mismatches and are replaced by the exchange’s.</p>
</div>
<div class="card audit">
${audits.length === 0 ? html`<p class="empty">No audits ${detail === null ? '' : 'of this day '}yet. Each day is audited 7 minutes after it ends.</p>` : table(audits, detail !== null)}
</div>
${detail === null ? '' : html`<p><a href="/audit">All audits</a></p>`}`
  return { title, description: 'How many closed candles match the exchange’s, by product and day', content }
}

const table = (
  audits: readonly Audit[],
  isDetail: boolean,
): Html => html`<div class="scroll" tabindex="0" role="group" aria-label="Audits">
<table>
  <caption class="hidden">Closed candles compared with the exchange’s</caption>
  <thead><tr><th scope="col" class="head">${isDetail ? 'Candles' : 'Pair'}</th>${['Match', 'Compared', 'Equal', 'Repaired', 'Missing here', 'Missing there'].map((head) => html`<th scope="col" class="head number">${head}</th>`)}<th scope="col" class="head state">State</th></tr></thead>
${isDetail ? html`<tbody>${audits.map((audit) => row(GRANULARITY_TEXT[audit.granularity].long, [audit]))}</tbody>` : byDay(audits)}
</table>
</div>`

const byDay = (audits: readonly Audit[]): Html[] =>
  [...Map.groupBy(audits, ({ day }) => day)].map(
    ([day, ofDay]) =>
      html`<tbody><tr class="day"><th scope="rowgroup" colspan="8">${day}</th></tr>${[
        ...Map.groupBy(ofDay, ({ product_id }) => product_id),
      ].map(([product, ofProduct]) => {
        const address = `/audit?product=${encodeURIComponent(product)}&day=${day}`
        return row(html`<a href="${address}">${product}</a>`, ofProduct)
      })}</tbody>`,
  )

const COUNTS = ['compared', 'equal', 'repaired', 'missing_here', 'missing_there'] as const

/** One granularity, or all of one product and day together: they have the same status. */
function row(label: Html | string, audits: readonly Audit[]): Html {
  const [{ status, done_at, error }] = audits as [Audit]
  const done = audits.filter(({ compared }) => compared !== null)
  const counts = COUNTS.map((key) => done.reduce((total, audit) => total + (audit[key] ?? 0), 0))
  const [compared = 0, equal = 0] = counts
  const rate = done.length === 0 ? null : matchRate(equal, compared)
  const tone = rate === null ? 'flat' : rate === '1' ? 'up' : 'down'
  return html`<tr>
  <th scope="row">${label}</th>
  <td class="number ${tone}">${rateText(rate)}</td>${counts.map((count) => html`<td class="number">${done.length === 0 ? '–' : count}</td>`)}
  <td class="state">${stateText(status, done_at, error)}</td>
</tr>`
}

/** `0.998611` is `99.8611%`: rounded down, so that only a full match is 100%. */
const rateText = (rate: string | null): string =>
  rate === null ? '–' : `${(Number(rate) * 100).toFixed(4).replace(/\.?0+$/, '')}%`

function stateText(status: Audit['status'], doneAt: string | null, error: string | null): Html | string {
  if (status === 'done')
    return doneAt === null ? 'done' : html`<span title="${utcText(Date.parse(doneAt))}">done</span>`
  const text = status === 'pending' ? 'pending' : 'repair pending'
  return html`<strong>${text}</strong>${error === null ? '' : html` <span class="muted">exchange: ${error}</span>`}`
}
