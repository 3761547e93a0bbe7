import type { Context } from 'hono'
import { html } from 'hono/html'
import { secureHeaders } from 'hono/secure-headers'
import type { AppEnv } from '../../api/http/context.ts'
import { readSettings } from '../../config.ts'
import { log } from '../../log.ts'
import { CodedError, ERROR_CODES, type ErrorCode } from '../../protocol/errors.ts'
import { ambiguousPage } from '../assets/asset.ts'
import { type Html, layout, type Page } from './layout.ts'

/** Nothing from other sites and nothing inline; sockets and streams only to the page's own origin. */
export const securityHeaders = secureHeaders({
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    imgSrc: ["'self'"],
    connectSrc: ["'self'"],
    baseUri: ["'none'"],
    formAction: ["'self'"],
    frameAncestors: ["'none'"],
  },
  referrerPolicy: 'strict-origin-when-cross-origin',
  xFrameOptions: 'DENY',
})

type Status = (typeof ERROR_CODES)[ErrorCode]['status'] | 200

/** Responds with a part of a page. Its prices are current, so it is not stored by default. */
export const renderPart = (c: Context<AppEnv>, part: Html, status: Status = 200, cacheControl = 'no-store') =>
  c.html(part, status, { 'cache-control': cacheControl })

/** Responds with a page. */
export function renderPage(c: Context<AppEnv>, page: Page, status?: Status, cacheControl?: string) {
  const { EXCHANGE, VERSION } = readSettings(c.env)
  return renderPart(c, layout({ exchange: EXCHANGE, version: VERSION }, page), status, cacheControl)
}

/** The page of an error. An error without a code is logged, and its text is not shown. */
export function errorPage(error: Error, c: Context<AppEnv>): Response | Promise<Response> {
  if (error instanceof CodedError && error.candidates)
    return renderPage(c, ambiguousPage(c.req.param('symbol') ?? '', error.candidates), ERROR_CODES[error.code].status)
  if (error instanceof CodedError) return problemPage(c, error.code, error.message)
  log('page_failed', { request_id: c.var.requestId, path: c.req.path, error: error.stack ?? String(error) })
  return problemPage(c, 'internal', 'Something went wrong on our side. Please try again.')
}

/** The page for an unknown address. */
export const notFoundPage = (c: Context<AppEnv>): Response | Promise<Response> =>
  problemPage(c, 'not_found', `There is no page at ${c.req.path}.`)

/** The request id helps to find the request in the logs. */
function problemPage(c: Context<AppEnv>, code: ErrorCode, detail: string): Response | Promise<Response> {
  const { status, title } = ERROR_CODES[code]
  const content = html`
<div class="card problem">
  <p class="code" aria-hidden="true">${status}</p>
  <h1>${title}</h1>
  <p>${detail}</p>
  <p><a class="button" href="/">All markets</a></p>
  <p class="muted small">Request ${c.var.requestId}</p>
</div>`
  return renderPage(c, { title, content }, status)
}
