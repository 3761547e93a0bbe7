import { app } from '../../../workers/app.ts'
import { headersOf, normaliser } from './normal.ts'
import { skeletonOf } from './page-skeleton.ts'

/** Every method and address of the Worker, such as `GET /products/:id`. */
export const ROUTES = [
  ...new Set(app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`)),
]

async function bodyOf(response: Response, normal: ReturnType<typeof normaliser>): Promise<unknown> {
  const type = response.headers.get('content-type')?.split(';')[0] ?? ''
  if (type === 'text/event-stream') {
    await response.body?.cancel()
    return '<events>'
  }
  const text = await response.text()
  if (text === '') return null
  if (/json$/.test(type)) return normal.json(text)
  return type === 'text/html' ? skeletonOf(text, normal) : normal.text(text).split('\r\n')
}

/** The answers to requests, each under its route and what was asked. */
export function answers() {
  const observed: Record<string, unknown> = {}
  return {
    observed,
    /** Notes an answer, and gives it on. @param pick what of the body is to be compared; all of it when left out */
    async note(
      route: string,
      asked: string,
      answer: Response | Promise<Response>,
      pick: (body: never) => unknown = (body) => body,
    ): Promise<Response> {
      if (!ROUTES.includes(route)) throw new Error(`no route ${route}`)
      const name = `${route}: ${asked}`
      if (name in observed) throw new Error(`twice: ${name}`)
      const response = await answer
      const normal = normaliser()
      const body = await bodyOf(response.clone(), normal)
      const headers = headersOf(response, normal)
      observed[name] = { status: response.status, headers, body: pick(body as never) }
      return response
    },
  }
}
