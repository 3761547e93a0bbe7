import type { ReceivedResponse } from './http-client.ts'
import { forget, type Person, remember, storeCookies } from './person.ts'
import type { Random } from './random.ts'
import { jsonBody, type RequestDraft, type RunContext, send, type Turn } from './send.ts'

/** Market assets that users trade, with their approximate prices. */
const SYMBOLS = ['AAPL', 'MSFT', 'NESN.SW', 'BTC', 'ETH'] as const

/** A kind of request, and its weight among all kinds. */
export type RequestKind = { weight: number; run(turn: Turn): Promise<unknown> }

/** A unique number. */
function drawAmount(world: RunContext, me: Person, random: Random, most: number): string {
  const text = `${1 + random.under(most)}.${random.digits(16)}`
  world.canaries.add(me.tag, text)
  return text
}

/** A unique text. */
function drawNote(world: RunContext, me: Person, random: Random): string {
  const text = `note ${random.word()}`
  world.canaries.add(me.tag, text)
  return text
}

/** The most activities of a user: more make responses larger without proving more. */
const MAX_ACTIVITIES = 60
const isFull = ({ things }: Person): boolean => things.activities.length >= MAX_ACTIVITIES

const PERIOD_MS = 300 * 86_400_000

/** A unique time. */
function drawMoment(world: RunContext, me: Person, random: Random): string {
  const at = Date.UTC(2026, 0, 1) + random.under(PERIOD_MS / 1_000) * 1_000 + 1 + random.under(999)
  const text = new Date(Math.min(at, Date.now() - 60_000 - random.under(50_000_000))).toISOString().slice(0, 23)
  world.canaries.add(me.tag, text)
  return `${text}Z`
}

/** A user's own idempotency key. */
function drawIdempotencyKey(world: RunContext, me: Person, random: Random): string {
  const key = `key-${random.word()}`
  world.canaries.add(me.tag, key)
  remember(me, 'keys', key)
  return key
}

/** A write without private data: with another user's key it is the same request. */
export const PLAIN_FEE = { kind: 'fee', price: '1', currency: 'USD', traded_at: '2026-01-05' }

export const purchase = ({ world, random, me }: Turn) => ({
  symbol: random.chance(0.2) && me.customAssets.length > 0 ? random.pick(me.customAssets).symbol : random.pick(SYMBOLS),
  quantity: drawAmount(world, me, random, 20),
  price: drawAmount(world, me, random, 400),
  fees: drawAmount(world, me, random, 5),
  traded_at: drawMoment(world, me, random),
  note: drawNote(world, me, random),
})

/** A file of activities in Ghostfolio's format, of custom and of market assets. */
export function ghostfolioFile({ world, random, me }: Turn, rows = 1 + random.under(3)): string {
  const activities = Array.from({ length: rows }, () => {
    const asset = random.pick(me.customAssets)
    const manual = random.chance(0.6)
    return {
      symbol: manual ? asset.symbol : 'AAPL',
      dataSource: manual ? 'MANUAL' : 'YAHOO',
      currency: manual ? asset.currency : 'USD',
      date: drawMoment(world, me, random),
      fee: 0,
      quantity: drawAmount(world, me, random, 20),
      unitPrice: drawAmount(world, me, random, 400),
      type: 'BUY',
      comment: drawNote(world, me, random),
    }
  })
  const assetProfiles = me.customAssets.map(({ symbol, name, currency }) => ({
    symbol,
    name,
    currency,
    dataSource: 'MANUAL',
  }))
  return JSON.stringify({ meta: { version: 'x' }, assetProfiles, activities })
}

const idempotencyHeader = (turn: Turn): Record<string, string> =>
  turn.random.chance(0.4) ? { 'idempotency-key': drawIdempotencyKey(turn.world, turn.me, turn.random) } : {}

/** Remembers the ids that a write has created. */
function rememberCreated(me: Person, answer: ReceivedResponse | null, kinds: readonly ('lots' | 'activities')[]): void {
  const id = jsonBody(answer)?.id
  if (answer?.status !== 201 || typeof id !== 'string') return
  for (const kind of kinds) remember(me, kind, id)
}

async function buy(turn: Turn): Promise<unknown> {
  const { world, me } = turn
  if (isFull(me)) return deleteActivity(turn)
  const body = purchase(turn)
  const draft: RequestDraft = {
    what: 'buy',
    as: me,
    method: 'POST',
    path: '/api/v1/stocks',
    headers: idempotencyHeader(turn),
    body,
  }
  const answer = await send(world, draft)
  rememberCreated(me, answer, ['lots', 'activities'])
  // The same request with the same key gets the same response.
  if (answer?.status !== 201 || !draft.headers?.['idempotency-key'] || turn.random.chance(0.5)) return
  const again = await send(world, { ...draft, what: 'buy again' })
  if (again && again.body !== answer.body) world.detector.fault('an answer was not given again for its key')
}

async function addActivity(turn: Turn): Promise<unknown> {
  const { world, random, me } = turn
  if (isFull(me)) return deleteActivity(turn)
  const kind = random.pick(['dividend', 'fee', 'interest', 'tax', 'transfer_in', 'split'] as const)
  const rest = { traded_at: drawMoment(world, me, random), note: drawNote(world, me, random) }
  const price = drawAmount(world, me, random, 30)
  const symbol = random.pick(SYMBOLS)
  const body =
    kind === 'split'
      ? { kind, symbol, split: { numerator: '11', denominator: '10' }, ...rest }
      : kind === 'dividend' || kind === 'transfer_in'
        ? { kind, symbol, quantity: drawAmount(world, me, random, 20), price, ...rest }
        : { kind, price, currency: random.pick(me.currencies), ...rest }
  const draft = {
    what: 'enter',
    as: me,
    method: 'POST',
    path: '/api/v1/activities',
    headers: idempotencyHeader(turn),
    body,
  }
  rememberCreated(me, await send(world, draft), kind === 'transfer_in' ? ['lots', 'activities'] : ['activities'])
}

async function changeLot(turn: Turn): Promise<unknown> {
  const { world, random, me } = turn
  const id = random.pick(me.things.lots)
  if (id === undefined) return buy(turn)
  const body = random.pick([
    { note: drawNote(world, me, random) },
    { price: drawAmount(world, me, random, 400) },
    { fees: drawAmount(world, me, random, 5), traded_at: drawMoment(world, me, random) },
  ])
  const headers: Record<string, string> = random.chance(0.3) ? { 'if-match': '"v1"' } : idempotencyHeader(turn)
  await send(world, { what: 'change', as: me, method: 'PATCH', path: `/api/v1/stocks/${id}`, headers, body })
}

async function deleteActivity(turn: Turn): Promise<void> {
  const { world, random, me } = turn
  const id = random.pick(me.things.activities)
  if (id === undefined) return
  const answer = await send(world, { what: 'delete', as: me, method: 'DELETE', path: `/api/v1/activities/${id}` })
  if (answer?.status === 204) for (const kind of ['lots', 'activities'] as const) forget(me, kind, id)
}

async function sell(turn: Turn): Promise<void> {
  const { world, random, me } = turn
  const id = random.pick(me.things.lots)
  if (id === undefined) return
  const quantity = `0.${random.digits(16)}`
  world.canaries.add(me.tag, quantity)
  const dry = random.chance(0.5)
  const body = {
    quantity,
    price: drawAmount(world, me, random, 400),
    note: drawNote(world, me, random),
    ...(random.chance(0.3) && { lots: [{ lot_id: id, quantity }] }),
  }
  const path = `/api/v1/stocks/${id}/sell${dry ? '?dry_run=true' : ''}`
  await send(world, { what: dry ? 'sale, dry' : 'sale', as: me, method: 'POST', path, body })
}

async function importFile(turn: Turn): Promise<void> {
  const { world, random, me } = turn
  const whole = ghostfolioFile(turn)
  const broken = random.chance(0.3)
  const text = broken ? random.pick([whole.slice(0, -40), whole.replaceAll('BUY', 'LIABILITY')]) : whole
  const dry = isFull(me) || random.chance(0.4)
  const path = `/api/v1/portfolio/import?dry_run=${dry}&unknown=own`
  const what = broken ? 'import, broken' : dry ? 'import, dry' : 'import'
  await send(world, { what, as: me, method: 'POST', path, body: text })
}

async function list(turn: Turn): Promise<void> {
  const { world, random, me } = turn
  const at = random.pick(['stocks', 'activities'] as const)
  const cursor = random.chance(0.3) ? me.things.cursors.at(-1) : undefined
  const query = random.pick(['', 'limit=5', 'limit=1', `symbol=${random.pick(SYMBOLS)}`, 'limit=500'])
  const path = `/api/v1/${at}?${query}${cursor ? `&cursor=${cursor}` : ''}`
  const json = jsonBody(await send(world, { what: at, as: me, path }))
  for (const { id } of (json?.[at] ?? []) as { id: string }[]) remember(me, at === 'stocks' ? 'lots' : 'activities', id)
}

const getOne = ({ world, random, me }: Turn) => {
  const at = random.pick(['stocks', 'activities'] as const)
  const id = random.pick(me.things[at === 'stocks' ? 'lots' : 'activities']) ?? random.uuid()
  return send(world, { what: `one of ${at}`, as: me, path: `/api/v1/${at}/${id}` })
}

async function exportPortfolio(turn: Turn): Promise<void> {
  const { world, random, me } = turn
  const format = random.pick(['json', 'csv'])
  const answer = await send(world, { what: 'export', as: me, path: `/api/v1/portfolio/export?format=${format}` })
  if (answer?.status === 200 && format === 'json') me.file = answer.body
}

async function editProfile(turn: Turn): Promise<void> {
  const { world, random, me } = turn
  if (random.chance(0.5)) return void (await send(world, { what: 'profile', as: me, path: '/api/v1/users/profile' }))
  const name = `${me.tag} ${random.word()}`
  world.canaries.add(me.tag, name)
  const body = random.pick([{ name }, { currency: random.pick(me.currencies) }, { refresh_interval_seconds: 60 }])
  await send(world, { what: 'profile changed', as: me, method: 'PATCH', path: '/api/v1/users/profile', body })
}

const viewPortfolio = ({ world, random, me }: Turn) => {
  const path = random.pick([
    '/api/v1/stocks/portfolio-enriched',
    '/api/v1/stocks/portfolio-enriched',
    '/api/v1/stocks/portfolio-cache',
    `/api/v1/portfolio/history?range=${random.pick(['1d', '1w', '1m', '1y', 'max', 'x'])}`,
  ])
  const headers: Record<string, string> = random.chance(0.1) ? { 'if-none-match': '"v1"', range: 'bytes=0-9' } : {}
  return send(world, { what: path.split(/[?]/)[0]!.slice(8), as: me, path, headers })
}

const refresh = ({ world, random, me }: Turn) =>
  send(world, {
    what: 'refresh',
    as: me,
    method: 'POST',
    path: '/refresh-portfolio',
    body: random.chance(0.5) ? {} : { userId: me.id },
  })

/** Form fields as a URL-encoded body. */
const encodeForm = (fields: Record<string, string>): string => new URLSearchParams(fields).toString()
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

const openPage = ({ world, random, me }: Turn) => {
  const [lot, activity] = [random.pick(me.things.lots), random.pick(me.things.activities)]
  const path = random.pick([
    '/user',
    '/user?range=1y',
    '/user/stocks',
    '/user/stocks?symbol=AAPL',
    '/user/activities',
    '/user/profile',
    '/user/import',
    `/user/stocks/${lot ?? random.uuid()}/sell`,
    `/user/activities/${activity ?? random.uuid()}`,
    `/user/activities/${activity ?? random.uuid()}/delete`,
    '/sign-in?next=/user',
    '/sign-up',
  ])
  return send(world, { what: 'page', as: me, by: 'cookies', path })
}

const submitForm = (turn: Turn) => {
  const { world, random, me } = turn
  if (isFull(me)) return deleteActivity(turn)
  const { symbol, quantity, price, fees, note: of } = purchase(turn)
  const fields = { symbol, quantity, price, fees, note: of, key: drawIdempotencyKey(world, me, random) }
  return send(world, {
    what: 'form',
    as: me,
    by: 'cookies',
    method: 'POST',
    path: '/user/stocks',
    headers: FORM,
    body: encodeForm(fields),
    echoes: true,
  })
}

async function addPlainFee(turn: Turn): Promise<unknown> {
  const { world, random, me } = turn
  if (isFull(me)) return deleteActivity(turn)
  const headers = { 'idempotency-key': drawIdempotencyKey(world, me, random) }
  const draft = { what: 'plain', as: me, method: 'POST', path: '/api/v1/activities', headers, body: PLAIN_FEE }
  rememberCreated(me, await send(world, draft), ['activities'])
}

/** Signs out of the browser's session, which closes all sockets of the user, and signs in again. */
async function signOut({ world, me }: Turn): Promise<void> {
  const out = { what: 'sign-out', as: me, by: 'cookies' as const, method: 'POST' }
  await send(world, { ...out, path: '/api/v1/auth/sign-out', body: {} })
  await signIn(world, me)
}

/** Signs in; the token and the cookies become canaries. */
export async function signIn(world: RunContext, me: Person): Promise<void> {
  const { email, password } = me
  const origin = { origin: world.environment.url }
  const draft = { what: 'sign-in', as: null, method: 'POST', path: '/api/v1/auth/sign-in', headers: origin }
  // Only the body says whose token it is, so it is checked after it was read.
  if (world.requestsLeft <= 0) return
  world.requestsLeft--
  const body = JSON.stringify({ email, password })
  const headers = { ...origin, 'content-type': 'application/json' }
  const answer = await world.http.ask({ method: 'POST', path: draft.path, headers, body })
  const where = 'sign-in'
  world.detector.check({ to: me.tag, where, text: answer.text, sent: body, echoes: false })
  const token = jsonBody(answer)?.access_token
  if (typeof token !== 'string')
    return world.detector.fault(`${me.tag} could not sign in: ${answer.status} ${answer.body}`)
  me.token = token
  storeCookies(me, answer)
  for (const text of [token, ...me.cookies.values()]) world.canaries.add(me.tag, text)
  const { sub } = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as {
    sub: string
  }
  me.id = sub
  world.canaries.add(me.tag, sub)
}

/** Requests of a user for their own data. */
export const OWN_REQUESTS: readonly RequestKind[] = [
  { weight: 10, run: buy },
  { weight: 6, run: addActivity },
  { weight: 6, run: changeLot },
  { weight: 5, run: deleteActivity },
  { weight: 6, run: sell },
  { weight: 4, run: importFile },
  { weight: 10, run: list },
  { weight: 6, run: getOne },
  { weight: 3, run: exportPortfolio },
  { weight: 5, run: editProfile },
  { weight: 10, run: viewPortfolio },
  { weight: 2, run: refresh },
  { weight: 8, run: openPage },
  { weight: 3, run: submitForm },
  { weight: 3, run: addPlainFee },
  { weight: 0.4, run: signOut },
]

/** Requests of a user who has no data. */
export const IDLE_REQUESTS: readonly RequestKind[] = [
  { weight: 4, run: list },
  { weight: 4, run: viewPortfolio },
  { weight: 2, run: exportPortfolio },
  { weight: 2, run: ({ world, me }) => send(world, { what: 'profile', as: me, path: '/api/v1/users/profile' }) },
  { weight: 4, run: openPage },
  { weight: 0.2, run: signOut },
]
