import { html } from 'hono/html'
import type { ImportResult } from '../../api/portfolio/import/result.ts'
import { KIND_LABELS } from '../../portfolio/format.ts'
import { type FormState, field, problemNote } from '../site/form.ts'
import { pluralize } from '../site/labels.ts'
import type { Html, Page } from '../site/layout.ts'
import { figuresTable } from '../site/table.ts'
import { AMOUNT_COLUMNS, amountCells } from './activities.ts'
import { idempotencyKeyField } from './lot-forms.ts'
import { userNav } from './nav.ts'

/** A previewed file. `content` is base64 for the form that imports it. */
export type PreviewedFile = { name: string; content: string; createCustomAssets: boolean; result: ImportResult }

/** The page to import a file, after a preview, and to export everything. */
export function importPage(form: FormState, file: PreviewedFile | null): Page {
  const content = html`
${userNav('/user/import')}
<div class="title-row"><h1>Import and export</h1></div>
${problemNote(form)}
${file === null ? '' : previewCard(file, form)}
<div class="forms">
<section class="card panel" aria-labelledby="import-title">
  <h2 id="import-title">${file === null ? 'Import a file' : 'Choose another file'}</h2>
  <form action="/user/import" method="post" enctype="multipart/form-data">
  ${field(form, { name: 'file', label: 'File', type: 'file', accept: '.csv,.json,.txt,text/csv,application/json', hint: 'An export from Kerb, Ghostfolio, Coinbase, Crypto.com, DEGIRO, Delta, Interactive Brokers, Parqet, Schwab or Trading 212, or a table with columns such as date, symbol, quantity, price, currency and type.' })}
  ${customAssetsCheckbox('own-of-file', false)}
  <button class="button" type="submit" name="step" value="preview">Preview</button>
  </form>
</section>
<section class="card panel" aria-labelledby="export-title">
  <h2 id="export-title">Export</h2>
  <p>Download all activities. You can import this file again.</p>
  <p><a href="/api/v1/portfolio/export?format=json" download>JSON</a> · <a href="/api/v1/portfolio/export?format=csv" download>CSV</a></p>
</section>
</div>`
  return { title: 'Import and export', description: 'Your portfolio as a file', content }
}

const customAssetsCheckbox = (id: string, checked: boolean): Html =>
  html`<p class="check"><input type="checkbox" id="${id}" name="unknown" value="own"${checked ? html` checked` : ''}> <label for="${id}">Add unknown symbols as custom assets, valued at cost</label></p>`

const FORMAT_LABELS: Partial<Record<string, string>> = {
  coinbase: 'Coinbase',
  cryptocom: 'Crypto.com',
  csv: 'CSV table',
  degiro: 'DEGIRO',
  delta: 'Delta',
  'ghostfolio-json': 'Ghostfolio JSON',
  ibkr: 'Interactive Brokers trades',
  'ibkr-cash': 'Interactive Brokers cash',
  parqet: 'Parqet',
  schwab: 'Schwab',
  trading212: 'Trading 212',
}

const countActivities = (count: number): string => pluralize(count, 'activity', 'activities')

function summary({ format, rows, imported, duplicates, skipped, failed }: ImportResult): string {
  const parts = [
    `${countActivities(imported)} to import`,
    ...(duplicates > 0 ? [pluralize(duplicates, 'duplicate')] : []),
    ...(skipped > 0 ? [`${pluralize(skipped, 'row')} skipped`] : []),
    ...(failed > 0 ? [pluralize(failed, 'error')] : []),
  ]
  return `${pluralize(rows, 'row')}${format === null ? '' : ` (${FORMAT_LABELS[format] ?? format})`}: ${parts.join(', ')}.`
}

function previewCard({ name, content, createCustomAssets, result }: PreviewedFile, form: FormState): Html {
  const { imported, failed, errors, skipped, skips, activities } = result
  return html`<section class="card panel" id="preview" aria-labelledby="preview-title">
  <h2 id="preview-title">${name}</h2>
  <p class="notice ${failed > 0 ? 'bad' : ''}" role="status">${summary(result)} ${failed > 0 ? 'Fix the errors to import. ' : ''}Nothing has been imported.</p>
  ${
    failed === 0
      ? ''
      : rowTable(
          'errors',
          'Errors',
          failed,
          ['Row', 'Field', 'Problem'],
          errors.map(({ row, field, message }) => [row, field, message]),
        )
  }
  <form action="/user/import" method="post" enctype="multipart/form-data">
  ${idempotencyKeyField(form)}
  <input type="hidden" name="name" value="${name}">
  <input type="hidden" name="content" value="${content}">
  ${customAssetsCheckbox('own', createCustomAssets)}
  <button class="button" type="submit" name="step" value="preview">Preview again</button>
  ${failed > 0 || imported === 0 ? '' : html`<button class="button" type="submit" name="step" value="import">Import ${countActivities(imported)}</button>`}
  </form>
  ${
    skips.length === 0
      ? ''
      : rowTable(
          'skips',
          'Skipped',
          skipped,
          ['Row', 'Reason'],
          skips.map(({ row, reason }) => [row, reason]),
        )
  }
  ${activities.length === 0 ? '' : activityTable(result)}
</section>`
}

const rowTable = (
  id: string,
  title: string,
  count: number,
  columns: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): Html => html`<h3 id="${id}-title">${title}${count > rows.length ? `, the first ${rows.length} of ${count}` : ''}</h3>
  ${figuresTable({
    id,
    labelledBy: `${id}-title`,
    caption: title,
    columns: { before: columns },
    rows: rows.map(
      ([row, ...cells]) =>
        html`<tr><th scope="row">${row}</th>${cells.map((cell) => html`<td class="said">${cell}</td>`)}</tr>\n`,
    ),
  })}`

const activityTable = ({
  activities,
  imported,
  duplicates,
}: ImportResult): Html => html`<h3 id="rows-title">Preview${imported + duplicates > activities.length ? `, the first ${activities.length}` : ''}</h3>
  ${figuresTable({
    labelledBy: 'rows-title',
    caption: 'Activities in the file',
    columns: { before: ['Row', 'When', 'Type', 'Asset'], numbers: AMOUNT_COLUMNS, after: ['State'] },
    rows: activities.map(
      (activity) => html`<tr>
  <th scope="row">${activity.row}</th>
  <td>${activity.traded_at.slice(0, 10)}</td>
  <td>${KIND_LABELS[activity.kind]}</td>
  <td>${activity.symbol === null ? '' : html`<span class="symbol">${activity.symbol}</span> <span class="name muted">${activity.name ?? ''}</span>`}</td>
  ${amountCells(activity)}
  <td>${activity.duplicate ? 'duplicate' : 'new'}</td>
</tr>
`,
    ),
    tall: true,
  })}`
