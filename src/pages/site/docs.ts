import { html } from 'hono/html'
import type { OpenApiDocument } from '../../api/openapi.ts'
import type { Html, Page } from './layout.ts'

/** The parts of JSON Schema that the document uses. */
type Schema = {
  $ref?: string
  type?: string | string[]
  enum?: unknown[]
  const?: unknown
  items?: Schema
  prefixItems?: Schema[]
  anyOf?: Schema[]
  oneOf?: Schema[]
  properties?: Record<string, Schema>
  required?: string[]
  description?: string
  default?: unknown
}
type Parameter = { in: string; name: string; required?: boolean; description?: string; schema?: Schema }
type Content = Record<string, { schema?: Schema }>
type Operation = {
  operationId: string
  summary?: string
  description?: string
  tags?: string[]
  security?: unknown[]
  parameters?: Parameter[]
  requestBody?: { required?: boolean; content: Content }
  responses: Record<string, { description: string; content?: Content }>
}
type Endpoint = { path: string; method: string; operation: Operation }

const schemaName = (ref: string): string => ref.slice(ref.lastIndexOf('/') + 1)

/** A schema in a few words. Other schemas are links. */
function renderType(schema: Schema | undefined): Html {
  if (schema === undefined) return html`anything`
  if (schema.$ref !== undefined) return html`<a href="#${schemaName(schema.$ref)}">${schemaName(schema.$ref)}</a>`
  const several = schema.anyOf ?? schema.oneOf
  if (several) return joinHtml(several.map(renderType), ' or ')
  if (schema.enum)
    return joinHtml(
      schema.enum.map((value) => html`<code>${String(value)}</code>`),
      ', ',
    )
  if (schema.const !== undefined) return html`<code>${String(schema.const)}</code>`
  if (schema.prefixItems) return html`[${joinHtml(schema.prefixItems.map(renderType), ', ')}]`
  if (schema.items) return html`list of ${renderType(schema.items)}`
  if (schema.properties)
    return html`object with ${joinHtml(
      Object.keys(schema.properties).map((key) => html`<code>${key}</code>`),
      ', ',
    )}`
  return html`${[schema.type ?? 'anything'].flat().join(' or ')}`
}

const joinHtml = (parts: readonly Html[], between: string): Html =>
  html`${parts.map((part, i) => (i === 0 ? part : html`${between}${part}`))}`

/** Text of the document, with code between backticks. */
const prose = (text: string): Html =>
  html`${text.split('`').map((part, i) => (i % 2 === 1 ? html`<code>${part}</code>` : part))}`

const field = (name: string, schema: Schema | undefined, required: boolean, description?: string): Html => html`<div>
  <dt><code>${name}</code> ${required ? '' : html`<span class="muted">optional</span>`}</dt>
  <dd><span class="type">${renderType(schema)}</span>${description ? html` ${prose(description)}` : ''}</dd>
</div>`

const fields = (schema: Schema): Html =>
  html`<dl class="fields">${Object.entries(schema.properties ?? {}).map(([name, each]) =>
    field(name, each, schema.required?.includes(name) ?? false, each.description),
  )}</dl>`

function renderBody(content: Content): Html {
  const [[type, { schema }] = ['', {}]] = Object.entries(content)
  return schema?.properties
    ? html`<p class="muted">${type}</p>${fields(schema)}`
    : html`<p class="muted">${type}: ${renderType(schema)}</p>`
}

function endpoint({ path, method, operation }: Endpoint): Html {
  const { operationId, summary, description, parameters = [], requestBody, responses, security } = operation
  const all = Object.entries(responses)
  const good = all.filter(([status]) => status < '400')
  const bad = all.filter(([status]) => status >= '400')
  return html`<section class="card endpoint" id="${operationId}" aria-labelledby="${operationId}-title">
  <h3 id="${operationId}-title"><span class="method">${method.toUpperCase()}</span> <code>${path}</code></h3>
  <p>${summary ?? ''}${security ? ' (requires the service key as a bearer token)' : ''}</p>
  ${description ? html`<p class="muted">${prose(description)}</p>` : ''}
  ${parameters.length === 0 ? '' : html`<h4>Parameters</h4><dl class="fields">${parameters.map((each) => field(each.name, each.schema, each.required ?? false, each.description))}</dl>`}
  ${requestBody ? html`<h4>Body${requestBody.required ? '' : ', optional'}</h4>${renderBody(requestBody.content)}` : ''}
  ${good.map(([status, response]) => html`<h4>${status}</h4><p>${prose(response.description)}</p>${response.content ? renderBody(response.content) : ''}`)}
  <h4>Errors</h4>
  <dl class="fields">${bad.map(([status, response]) => html`<div><dt>${status}</dt><dd>${prose(response.description)}</dd></div>`)}</dl>
</section>`
}

function schemaCard(name: string, schema: Schema): Html {
  const several = schema.anyOf ?? schema.oneOf
  return html`<section class="card endpoint" id="${name}" aria-labelledby="${name}-title">
  <h3 id="${name}-title"><code>${name}</code></h3>
  ${schema.description ? html`<p>${prose(schema.description)}</p>` : ''}
  ${several ? several.map((each) => fields(each)) : fields(schema)}
</section>`
}

/** The reference of all endpoints, from the OpenAPI document. */
export function docsPage(document: OpenApiDocument): Page {
  const endpoints = Object.entries((document.paths ?? {}) as Record<string, Record<string, Operation>>).flatMap(
    ([path, methods]) => Object.entries(methods).map(([method, operation]): Endpoint => ({ path, method, operation })),
  )
  const schemas = Object.entries((document.components?.schemas ?? {}) as Record<string, Schema>)
  const content = html`
<div class="title-row">
  <h1>Endpoints</h1>
  <p class="note"><a href="/openapi.json">OpenAPI 3.1</a></p>
</div>
<p>${prose(document.info.description ?? '')}</p>
<nav class="contents" aria-label="Endpoints">
${endpoints.map(({ path, method, operation }) => html`<a href="#${operation.operationId}">${method.toUpperCase()} ${path}</a> `)}
</nav>
${(document.tags ?? []).map(
  ({ name, description }) => html`<h2 class="part">${name} <span class="muted">${description ?? ''}</span></h2>
${endpoints.filter(({ operation }) => operation.tags?.includes(name)).map(endpoint)}`,
)}
<h2 class="part">Schemas</h2>
${schemas.map(([name, schema]) => schemaCard(name, schema))}`
  return { title: 'Endpoints', description: 'Reference of every endpoint', content }
}
