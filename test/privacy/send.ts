import type { Canaries } from './canaries.ts'
import type { TestEnvironment } from './environment.ts'
import { type HttpClient, type ReceivedResponse, type SentRequest, sentText } from './http-client.ts'
import type { LeakDetector } from './leak-detector.ts'
import { cookieHeader, learnCanaries, type Person, storeCookies } from './person.ts'
import type { Random } from './random.ts'

/** What a run is about. `left`: requests that may still be sent. */
export type RunContext = {
  stage: TestEnvironment
  wire: HttpClient
  canaries: Canaries
  judge: LeakDetector
  users: readonly Person[]
  requestsLeft: number
  /** Answers by what was asked, and by the hundreds of their status. */
  tally: Map<string, number[]>
}

/** One user at a turn, the one whose things they try, and chance. */
export type Turn = { world: RunContext; random: Random; me: Person; other: Person }

/**
 * A request before it is sent. `by`: what tells who asks. `refused`: it has to be, whoever asks. `echoes`: see `Told`; an
 * error always may. `learns`: what it tells its user is theirs.
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

/** What is told to nobody but who signs in: it is stored by nobody in any case. */
const AUTH_PATH = '/api/v1/auth/'

function buildRequest(
  { as, by = 'bearer', method = 'GET', path, headers = {}, body }: RequestDraft,
  origin: string,
): SentRequest {
  const type: Record<string, string> =
    body === undefined || typeof body === 'string' ? {} : { 'content-type': 'application/json' }
  const who: Record<string, string> =
    as === null ? {} : by === 'bearer' ? { authorization: `Bearer ${as.token}` } : { cookie: cookieHeader(as), origin }
  const text = body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body)
  return { method, path, headers: { ...type, ...who, ...headers }, body: text }
}

export function countResponse(world: RunContext, what: string, status: number): void {
  const row = world.tally.get(what) ?? [0, 0, 0, 0, 0, 0]
  world.tally.set(what, row)
  row[Math.floor(status / 100)] = (row[Math.floor(status / 100)] ?? 0) + 1
}

/** Asks, and looks at all that comes back. Null: nothing more may be sent, or no answer came, which is a fault. */
export async function send(world: RunContext, draft: RequestDraft): Promise<ReceivedResponse | null> {
  if (world.requestsLeft <= 0) return null
  world.requestsLeft--
  const { judge, stage, wire } = world
  const { what, as, by = 'bearer' } = draft
  const asked = buildRequest(draft, stage.url)
  const where = `${what}: ${asked.method} ${asked.path}`
  const answer = await wire.ask(asked, draft.stream).catch((error: Error) => {
    judge.fault(`${where}: ${error.message}`)
    return null
  })
  if (answer === null) return null
  if (as !== null && by === 'cookies') storeCookies(as, answer)
  countResponse(world, what, answer.status)
  const to = as?.tag ?? null
  const echoes = draft.echoes === true || answer.status >= 400 || isSignInRedirect(answer)
  const own = judge.check({ to, where, text: answer.text, sent: sentText(asked), echoes })
  const cache = answer.headers['cache-control'] ?? ''
  if (own.length > 0 && answer.status < 300 && !asked.path.startsWith(AUTH_PATH) && !cache.includes('no-store'))
    judge.fault(`${where}: what is ${to}'s may be stored: cache-control: ${cache}`)
  if (draft.refused && answer.status < 400 && !isSignInRedirect(answer))
    judge.fault(`${where}: was not refused, but answered ${answer.status}`)
  if (answer.status >= 500) judge.fault(`${where}: ${answer.status} ${answer.body.slice(0, 300)}`)
  if (draft.learns !== false && as !== null && answer.status < 300 && !draft.echoes) {
    const json = jsonBody(answer)
    if (json !== null) learnCanaries(world.canaries, as, json)
  }
  return answer
}

/** A page whose user has signed out meanwhile, on another lane: the way in is told, and where to go then. */
const isSignInRedirect = ({ status, headers }: ReceivedResponse): boolean =>
  status === 303 && headers.location?.startsWith('/sign-in?') === true

/** The JSON of an answer; null for none. */
export function jsonBody(answer: ReceivedResponse | null): Record<string, unknown> | null {
  if (!answer?.headers['content-type']?.includes('json') || answer.body === '') return null
  const json: unknown = JSON.parse(answer.body)
  return typeof json === 'object' ? (json as Record<string, unknown>) : null
}

/**
 * Asks the same for a thing of somebody else's and for one that nobody has: that the answers differ would tell that it is
 * there.
 */
export async function sendTwins(
  world: RunContext,
  draft: RequestDraft,
  theirs: string,
  nobodys: string,
): Promise<void> {
  const change = (text: string) => text.replaceAll(theirs, nobodys)
  const twin = {
    ...draft,
    path: change(draft.path),
    ...(draft.body === undefined ? {} : { body: JSON.parse(change(JSON.stringify(draft.body))) as unknown }),
  }
  const [one, two] = [await send(world, draft), await send(world, twin)]
  if (one === null || two === null || isSignInRedirect(one) !== isSignInRedirect(two)) return
  const told = ({ status, body }: ReceivedResponse) =>
    `${status} ${change(body).replace(/"request_id":"[^"]*"|Request [^<]*/, '')}`
  if (told(one) !== told(two))
    world.judge.fault(`${draft.what}: tells that there is ${theirs}: ${told(one)} / ${told(two)}`)
}
