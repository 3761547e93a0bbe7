import { app } from '../../../workers/app.ts'
import { headersOf, normaliser } from './normal.ts'
import { skeletonOf } from './page-skeleton.ts'

/** Every method and path of the Worker, such as `GET /products/:id`. */
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

/** Collects answers by route and case. */
export function answers() {
  const observed: Record<string, unknown> = {}
  return {
    observed,
    /** Adds an answer and returns it. @param pick selects the part of the body to compare, by default all of it */
    async note(
      route: string,
      of: string,
      answer: Response | Promise<Response>,
      pick: (body: never) => unknown = (body) => body,
    ): Promise<Response> {
      if (!ROUTES.includes(route)) throw new Error(`no route ${route}`)
      const name = `${route}: ${of}`
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
