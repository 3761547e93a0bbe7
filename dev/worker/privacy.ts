import worker from '../../workers/index.ts'
import { drainPortfolios } from '../../workers/jobs/portfolios.ts'

export * from '../../workers/index.ts'

/** Deliberate faults, for a test of the suite itself. */
type Variables = { PLANT?: 'cache' | 'identity' | 'error' | 'rows' }

/** So many requests pass between two that go wrong. */
const FAULT_EVERY = 10

let requests = 0
/** Responses by address alone, like a cache that ignores users. */
const cached = new Map<string, { status: number; headers: Headers; body: string }>()
let lastToken: string | null = null
let lastEmail = 'nobody'

async function fromSharedCache(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
  const { pathname } = new URL(request.url)
  const found = cached.get(pathname)
  if (found && requests % FAULT_EVERY === 0) return new Response(found.body, found)
  const answer = await worker.fetch(request, env, ctx)
  if (!pathname.startsWith('/api/v1/stocks') || answer.status !== 200) return answer
  const body = await answer.text()
  cached.set(pathname, { status: 200, headers: answer.headers, body })
  return new Response(body, answer)
}

/** A user's request, now and then with the token of the request before it. */
function withPreviousToken(request: Request): Request {
  const token = request.headers.get('authorization')
  const other = lastToken
  if (token?.includes('.')) lastToken = token
  if (token === null || other === null || requests % FAULT_EVERY > 0) return request
  const headers = new Headers(request.headers)
  headers.set('authorization', other)
  return new Request(request, { headers })
}

function emailOf(token: string | null): string | null {
  try {
    const claims = token?.split('.')[1]?.replaceAll('-', '+').replaceAll('_', '/')
    return claims ? (JSON.parse(atob(claims)) as { email: string }).email : null
  } catch {
    return null
  }
}

/** An error that names another user. */
async function withLeakyError(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
  const before = lastEmail
  lastEmail = emailOf(request.headers.get('authorization')) ?? lastEmail
  const answer = await worker.fetch(request, env, ctx)
  if (answer.status < 400 || requests % FAULT_EVERY > 0) return answer
  return new Response((await answer.text()).replace('"detail":"', `"detail":"${before} `), answer)
}

/** The Worker, and at an address what brings changes past it to sockets, which cron calls every minute. */
export default {
  ...worker,
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    if (new URL(request.url).pathname === '/_privacy/drain') {
      await drainPortfolios(env, Date.now())
      return new Response(null, { status: 204 })
    }
    requests++
    const { PLANT } = env as Variables
    if (PLANT === 'cache') return fromSharedCache(request, env, ctx)
    if (PLANT === 'identity') return worker.fetch(withPreviousToken(request), env, ctx)
    if (PLANT === 'error') return withLeakyError(request, env, ctx)
    return worker.fetch(request, env, ctx)
  },
}
