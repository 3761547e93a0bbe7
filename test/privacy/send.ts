import type { Canaries } from './canaries.ts'
import type { TestEnvironment } from './environment.ts'
import { type HttpClient, type ReceivedResponse, type SentRequest, sentText } from './http-client.ts'
import type { LeakDetector } from './leak-detector.ts'
import { cookieHeader, learnCanaries, type Person, storeCookies } from './person.ts'
import type { Random } from './random.ts'

/** The state of a run. `requestsLeft`: requests that may still be sent. */
export type RunContext = {
  environment: TestEnvironment
  http: HttpClient
  canaries: Canaries
  detector: LeakDetector
  users: readonly Person[]
  requestsLeft: number
  /** Numbers of responses by kind of request and class of status (1xx to 5xx). */
  tally: Map<string, number[]>
}

/** One turn: the user who sends, another user whose data they try to reach, and random numbers. */
export type Turn = { world: RunContext; random: Random; me: Person; other: Person }

/**
 * A request before it is sent. `by`: how the user is identified. `refused`: it must be refused for every user. `echoes`: see
 * `Received`; an error always may echo. `learns`: the response's values become canaries of the user; true by default.
 */
export type RequestDraft = {
  what: string
  as: Person | null
  by?: 'bearer' | 'cookies'
  method?: string
  path: string
  headers?: Record<string, string>
  body?: unknown
  refused?: boolean
  echoes?: boolean
  learns?: boolean
  stream?: boolean
}

/** Paths whose responses are exempt from the check of `cache-control`: they answer a sign-in, never a cacheable request. */
const AUTH_PATH = '/api/v1/auth/'

function buildRequest(
  { as, by = 'bearer', method = 'GET', path, headers = {}, body }: RequestDraft,
  origin: string,
): SentRequest {
  const type: Record<string, string> =
    body === undefined || typeof body === 'string' ? {} : { 'content-type': 'application/json' }
  const identity: Record<string, string> =
    as === null ? {} : by === 'bearer' ? { authorization: `Bearer ${as.token}` } : { cookie: cookieHeader(as), origin }
  const text = body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body)
  return { method, path, headers: { ...type, ...identity, ...headers }, body: text }
}

export function countResponse(world: RunContext, what: string, status: number): void {
  const row = world.tally.get(what) ?? [0, 0, 0, 0, 0, 0]
  world.tally.set(what, row)
  row[Math.floor(status / 100)] = (row[Math.floor(status / 100)] ?? 0) + 1
}

/** Sends a request and checks the response. Null if the run's requests are used up, or no response came, which is a fault. */
export async function send(world: RunContext, draft: RequestDraft): Promise<ReceivedResponse | null> {
  if (world.requestsLeft <= 0) return null
  world.requestsLeft--
  const { detector, environment, http } = world
  const { what, as, by = 'bearer' } = draft
  const request = buildRequest(draft, environment.url)
  const where = `${what}: ${request.method} ${request.path}`
  const response = await http.ask(request, draft.stream).catch((error: Error) => {
    detector.fault(`${where}: ${error.message}`)
    return null
  })
  if (response === null) return null
  if (as !== null && by === 'cookies') storeCookies(as, response)
  countResponse(world, what, response.status)
  const to = as?.tag ?? null
  const echoes = draft.echoes === true || response.status >= 400 || isSignInRedirect(response)
  const own = detector.check({ to, where, text: response.text, sent: sentText(request), echoes })
  const cache = response.headers['cache-control'] ?? ''
  if (own.length > 0 && response.status < 300 && !request.path.startsWith(AUTH_PATH) && !cache.includes('no-store'))
    detector.fault(`${where}: data of ${to} may be cached: cache-control: ${cache}`)
  if (draft.refused && response.status < 400 && !isSignInRedirect(response))
    detector.fault(`${where}: was not refused, but answered ${response.status}`)
  if (response.status >= 500) detector.fault(`${where}: ${response.status} ${response.body.slice(0, 300)}`)
  if (draft.learns !== false && as !== null && response.status < 300 && !draft.echoes) {
    const json = jsonBody(response)
    if (json !== null) learnCanaries(world.canaries, as, json)
  }
  return response
}

/** True for the redirect to sign-in, which a page sends when its user has signed out meanwhile on another lane. */
const isSignInRedirect = ({ status, headers }: ReceivedResponse): boolean =>
  status === 303 && headers.location?.startsWith('/sign-in?') === true

/** The JSON object of a response, or null. */
export function jsonBody(response: ReceivedResponse | null): Record<string, unknown> | null {
  if (!response?.headers['content-type']?.includes('json') || response.body === '') return null
  const json: unknown = JSON.parse(response.body)
  return typeof json === 'object' ? (json as Record<string, unknown>) : null
}

/**
 * Sends the same request for a resource of another user and for a missing one. Different responses would reveal that it
 * exists.
 */
export async function sendTwins(
  world: RunContext,
  draft: RequestDraft,
  existing: string,
  missing: string,
): Promise<void> {
  const change = (text: string) => text.replaceAll(existing, missing)
  const twin = {
    ...draft,
    path: change(draft.path),
    ...(draft.body === undefined ? {} : { body: JSON.parse(change(JSON.stringify(draft.body))) as unknown }),
  }
  const [one, two] = [await send(world, draft), await send(world, twin)]
  if (one === null || two === null || isSignInRedirect(one) !== isSignInRedirect(two)) return
  const comparable = ({ status, body }: ReceivedResponse) =>
    `${status} ${change(body).replace(/"request_id":"[^"]*"|Request [^<]*/, '')}`
  if (comparable(one) !== comparable(two))
    world.detector.fault(`${draft.what}: reveals that ${existing} exists: ${comparable(one)} / ${comparable(two)}`)
}
