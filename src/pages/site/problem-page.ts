import { html } from 'hono/html'
import { type Html, layout, type Site } from './layout.ts'

/** The page of a request that cannot be answered. `detail` is shown as it is, `requestId` helps to find it in the logs. */
export const problemPage = (
  site: Site,
  problem: { status: number; title: string; detail: string; request_id: string },
): Html =>
  layout(site, {
    title: `${problem.title} · Kerb`,
    description: problem.title,
    script: null,
    content: html`
<div class="card problem">
  <p class="code" aria-hidden="true">${problem.status}</p>
  <h1>${problem.title}</h1>
  <p>${problem.detail}</p>
  <p><a class="button" href="/">All markets</a></p>
  <p class="muted small">Request ${problem.request_id}</p>
</div>`,
  })
