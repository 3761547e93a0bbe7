import { html } from 'hono/html'
import type { Audit } from '../../db/audits.ts'
import { matchRate } from '../../market/audit.ts'
import { GRANULARITY_TEXT, utcText } from '../site/labels.ts'
import { type Html, layout, type Site } from '../site/layout.ts'

/** One line of the table: a product's day, or one granularity of it. */
type Line = {
  /** Where more is told; null where this is all. */
  link: string | null
  label: string
  status: Audit['status']
  counts: Counts | null
  doneAt: string | null
  error: string | null
}

type Counts = { compared: number; equal: number; repaired: number; missingHere: number; missingThere: number }

/**
 * What the audits have found: a line for each product and day, the newest day first, or with `detail` for each
 * granularity of the one product and day that `audits` are of.
 */
export function auditPage(site: Site, audits: readonly Audit[], detail: { product: string; day: string } | null): Html {
  const title = detail === null ? 'Audit' : `Audit of ${detail.product}, ${detail.day}`
  const content = html`
<div class="title-row">
  <h1>${title}</h1>
  <p class="note">After each day (UTC) every closed candle is compared with the exchange’s own. What differs, or only one side has, counts as no match; what the exchange has is then taken over.</p>
</div>
<div class="card audit">
${audits.length === 0 ? html`<p class="empty">Nothing was audited yet${detail === null ? '' : ' of this day'}. A day is audited from seven minutes after its end on.</p>` : table(audits, detail)}
</div>
${detail === null ? '' : html`<p><a href="/audit">All audits</a></p>`}`
  const description = 'How many closed candles were equal to the exchange’s own, by product and day'
  return layout(site, { title: `${title} · Kerb`, description, script: null, content })
}

const table = (
  audits: readonly Audit[],
  detail: object | null,
): Html => html`<div class="scroll" tabindex="0" role="group" aria-label="Audits">
<table>
  <caption class="hidden">Closed candles compared with the exchange’s own</caption>
  <thead><tr><th scope="col" class="head">${detail === null ? 'Pair' : 'Candles'}</th><th scope="col" class="head number">Match</th><th scope="col" class="head number">Compared</th><th scope="col" class="head number">Equal</th><th scope="col" class="head number">Repaired</th><th scope="col" class="head number">Only exchange</th><th scope="col" class="head number">Only Kerb</th><th scope="col" class="head state">State</th></tr></thead>
${detail === null ? byDay(audits) : html`<tbody>${audits.map((audit) => row(toLine(audit)))}</tbody>`}
</table>
</div>`

function byDay(audits: readonly Audit[]): Html[] {
  return [...Map.groupBy(audits, ({ day }) => day)].map(([day, ofDay]) => {
    const products = [...Map.groupBy(ofDay, ({ product_id }) => product_id)]
    return html`<tbody><tr class="day"><th scope="rowgroup" colspan="8">${day}</th></tr>${products.map(([product, rows]) => row(totalLine(product, day, rows)))}</tbody>`
  })
}

function row({ link, label, status, counts, doneAt, error }: Line): Html {
  const rate = counts === null ? null : matchRate(counts.equal, counts.compared)
  const tone = rate === null ? 'flat' : rate === '1' ? 'up' : 'down'
  const number = (count: number | undefined) => html`<td class="number">${count ?? '–'}</td>`
  return html`<tr>
  <th scope="row">${link === null ? label : html`<a href="${link}">${label}</a>`}</th>
  <td class="number ${tone}">${rateText(rate)}</td>${number(counts?.compared)}${number(counts?.equal)}${number(counts?.repaired)}${number(counts?.missingHere)}${number(counts?.missingThere)}
  <td class="state">${stateText(status, doneAt, error)}</td>
</tr>`
}

/** `0.998611` is `99.8611%`; cut, never rounded, so that 100% is all. */
function rateText(rate: string | null): string {
  if (rate === null) return '–'
  return `${(Number(rate) * 100).toFixed(4).replace(/\.?0+$/, '')}%`
}

function stateText(status: Audit['status'], doneAt: string | null, error: string | null): Html | string {
  if (status === 'done')
    return doneAt === null ? 'done' : html`<span title="${utcText(Date.parse(doneAt))}">done</span>`
  const text = status === 'pending' ? 'not done' : 'repair not done'
  return html`<strong>${text}</strong>${error === null ? '' : html` <span class="muted">the exchange: ${error}</span>`}`
}

const toLine = (audit: Audit): Line => ({
  link: null,
  label: GRANULARITY_TEXT[audit.granularity].long,
  status: audit.status,
  counts: toCounts(audit),
  doneAt: audit.done_at,
  error: audit.error,
})

const toCounts = (audit: Audit): Counts | null =>
  audit.compared === null
    ? null
    : {
        compared: audit.compared,
        equal: audit.equal ?? 0,
        repaired: audit.repaired ?? 0,
        missingHere: audit.missing_here ?? 0,
        missingThere: audit.missing_there ?? 0,
      }

/** All granularities of one product's day together: their rows have one state. */
function totalLine(product: string, day: string, audits: readonly Audit[]): Line {
  const [first] = audits as [Audit]
  const all = audits.map(toCounts).filter((counts) => counts !== null)
  const sum = (key: keyof Counts) => all.reduce((total, counts) => total + counts[key], 0)
  const [compared, equal, repaired] = [sum('compared'), sum('equal'), sum('repaired')]
  const counts = { compared, equal, repaired, missingHere: sum('missingHere'), missingThere: sum('missingThere') }
  return {
    link: `/audit?product=${encodeURIComponent(product)}&day=${day}`,
    label: product,
    status: first.status,
    counts: all.length === 0 ? null : counts,
    doneAt: first.done_at,
    error: first.error,
  }
}
