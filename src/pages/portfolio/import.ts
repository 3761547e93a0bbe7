import { html } from 'hono/html'
import type { ImportResult } from '../../api/portfolio/import/result.ts'
import { KIND_LABELS } from '../../portfolio/format.ts'
import { figure } from '../site/figure.ts'
import { type FormState, field, problemNote } from '../site/form.ts'
import { type Html, layout, type Site } from '../site/layout.ts'
import { idempotencyKeyField } from './lot-forms.ts'
import { userNav } from './nav.ts'

/** A file that was looked at: `content` is its bytes in base64, for the form that imports it. */
export type PreviewedFile = { name: string; content: string; createCustomAssets: boolean; answer: ImportResult }

/** What the page of import shows. `key` for `keyField`. */
export type ImportPage = { form: FormState; file: PreviewedFile | null; key: string }

/** The page to import a file on, which says first what that would do, and to have all as a file. */
export function importPage(site: Site, { form, file, key }: ImportPage): Html {
  const content = html`
${userNav('/user/import')}
<div class="title-row"><h1>Import and export</h1></div>
${problemNote(form)}
${file === null ? '' : previewCard(file, form, key)}
<div class="forms">
<section class="card panel" aria-labelledby="import-title">
  <h2 id="import-title">${file === null ? 'Import a file' : 'Another file'}</h2>
  <form action="/user/import" method="post" enctype="multipart/form-data">
  ${field(form, { name: 'file', label: 'File', type: 'file', autocomplete: 'off', accept: '.csv,.json,.txt,text/csv,application/json', hint: 'An export of Kerb or Ghostfolio (JSON, CSV), of Coinbase, Crypto.com, DEGIRO, Delta, Interactive Brokers, Parqet, Schwab or Trading 212, or a table with such columns as date, symbol, quantity, price, currency and type.' })}
  ${customAssetsCheckbox('own-of-file', false)}
  <button class="button" type="submit" name="step" value="preview">Look at it first</button>
  </form>
</section>
<section class="card panel" aria-labelledby="export-title">
  <h2 id="export-title">Export</h2>
  <p>All of your activities, which an import takes back to the same portfolio:</p>
  <p><a href="/api/v1/portfolio/export?format=json" download>JSON</a> · <a href="/api/v1/portfolio/export?format=csv" download>CSV</a></p>
</section>
</div>`
  return layout(site, {
    title: 'Import and export · Kerb',
    description: 'Your portfolio as a file',
    script: null,
    content,
  })
}

const customAssetsCheckbox = (id: string, own: boolean): Html =>
  html`<p class="check"><input type="checkbox" id="${id}" name="unknown" value="own"${own ? html` checked` : ''}> <label for="${id}">What nobody here knows becomes an asset of my own, kept at cost</label></p>`

const pluralize = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`

function summary({ format, rows, imported, duplicates, skipped, failed }: ImportResult): string {
  const parts = [
    `${pluralize(imported, 'activity', 'activities')} to import`,
    ...(duplicates > 0 ? [`${duplicates} there already`] : []),
    ...(skipped > 0 ? [`${pluralize(skipped, 'row', 'rows')} without effect`] : []),
    ...(failed > 0 ? [pluralize(failed, 'error', 'errors')] : []),
  ]
  return `${pluralize(rows, 'row', 'rows')}${format === null ? '' : ` of ${format}`}: ${parts.join(', ')}.`
}

function previewCard(
  { name, content, createCustomAssets: own, answer }: PreviewedFile,
  form: FormState,
  key: string,
): Html {
  const { imported, failed, errors, skips, activities } = answer
  return html`<section class="card panel" id="preview" aria-labelledby="preview-title">
  <h2 id="preview-title">${name}</h2>
  <p class="notice ${failed > 0 ? 'bad' : ''}" role="status">${summary(answer)} ${failed > 0 ? 'With an error nothing of it is imported.' : 'Nothing is imported yet.'}</p>
  ${
    failed === 0
      ? ''
      : rowTable(
          'errors',
          'What is wrong',
          failed,
          errors.map(({ row, field, message }) => [row, field, message]),
          ['Row', 'Field', 'Fault'],
        )
  }
  <form action="/user/import" method="post" enctype="multipart/form-data">
  ${idempotencyKeyField(form, key)}
  <input type="hidden" name="name" value="${name}">
  <input type="hidden" name="content" value="${content}">
  ${customAssetsCheckbox('own', own)}
  <button class="button" type="submit" name="step" value="preview">Look again</button>
  ${failed > 0 || imported === 0 ? '' : html`<button class="button" type="submit" name="step" value="import">Import ${pluralize(imported, 'activity', 'activities')}</button>`}
  </form>
  ${
    skips.length === 0
      ? ''
      : rowTable(
          'skips',
          'Without effect',
          answer.skipped,
          skips.map(({ row, reason }) => [row, reason]),
          ['Row', 'Why'],
        )
  }
  ${activities.length === 0 ? '' : activityTable(answer)}
</section>`
}

type Cells = readonly (string | number)[]

const rowTable = (
  id: string,
  title: string,
  all: number,
  rows: readonly Cells[],
  heads: readonly string[],
): Html => html`<h3 id="${id}-title">${title}${all > rows.length ? `, the first ${rows.length} of ${all}` : ''}</h3>
  <div class="scroll" tabindex="0" role="group" aria-labelledby="${id}-title">
  <table class="figures" id="${id}">
    <caption class="hidden">${title}</caption>
    <thead><tr>${heads.map((head) => html`<th scope="col" class="head">${head}</th>`)}</tr></thead>
    <tbody>
${rows.map(([row, ...more]) => html`<tr><th scope="row">${row}</th>${more.map((cell) => html`<td class="said">${cell}</td>`)}</tr>\n`)}
    </tbody>
  </table>
  </div>`

const activityTable = ({
  activities,
  imported,
  duplicates,
}: ImportResult): Html => html`<h3 id="rows-title">What it holds${imported + duplicates > activities.length ? `, the first ${activities.length}` : ''}</h3>
  <div class="scroll tall" tabindex="0" role="group" aria-labelledby="rows-title">
  <table class="figures">
    <caption class="hidden">Activities of the file</caption>
    <thead><tr><th scope="col" class="head">Row</th><th scope="col" class="head">When</th><th scope="col" class="head">What</th><th scope="col" class="head">Asset</th><th scope="col" class="head number">Quantity</th><th scope="col" class="head number">Price</th><th scope="col" class="head number">Fees</th><th scope="col" class="head">State</th></tr></thead>
    <tbody>
${activities.map(
  ({ row, traded_at, kind, symbol, name, quantity, price, fees, currency, split, duplicate }) => html`<tr>
  <th scope="row">${row}</th>
  <td>${traded_at.slice(0, 10)}</td>
  <td>${KIND_LABELS[kind]}</td>
  <td>${symbol === null ? '' : html`<span class="symbol">${symbol}</span> <span class="name muted">${name ?? ''}</span>`}</td>
  ${
    split === null
      ? html`<td class="number">${figure('quantity', '', quantity, '')}</td>
  <td class="number">${figure('price', '', price, '')} <span class="currency">${currency}</span></td>
  <td class="number">${figure('price', '', fees, '')}</td>`
      : html`<td class="number" colspan="3">${split.numerator} for ${split.denominator}</td>`
  }
  <td>${duplicate ? 'there already' : 'new'}</td>
</tr>
`,
)}
    </tbody>
  </table>
  </div>`
