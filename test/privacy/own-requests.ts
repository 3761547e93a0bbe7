import { type Draft, jsonOf, send, type Turn, type World } from './ask.ts'
import type { Drawing } from './draw.ts'
import { forget, keepCookies, type Person, remember } from './person.ts'
import type { Answer } from './wire.ts'

/** Assets of everybody that users trade, with what they cost about. */
const SYMBOLS = ['AAPL', 'MSFT', 'NESN.SW', 'BTC', 'ETH'] as const

/** A kind of request, and how often it comes. */
export type Kind = { weight: number; run(turn: Turn): Promise<unknown> }

/** A number that nobody else has. */
function amount(world: World, me: Person, random: Drawing, most: number): string {
  const text = `${1 + random.under(most)}.${random.digits(16)}`
  world.all.add(me.tag, text)
  return text
}

/** A text that nobody else has. */
function note(world: World, me: Person, random: Drawing): string {
  const text = `note ${random.word()}`
  world.all.add(me.tag, text)
  return text
}

/** Activities of a user that stay: what comes back grows with them, and shows nothing more. */
const MOST_ACTIVITIES = 60
const isFull = ({ things }: Person): boolean => things.activities.length >= MOST_ACTIVITIES

const YEAR_MS = 300 * 86_400_000

/** A moment that nobody else has. */
function moment(world: World, me: Person, random: Drawing): string {
  const at = Date.UTC(2026, 0, 1) + random.under(YEAR_MS / 1_000) * 1_000 + 1 + random.under(999)
  const text = new Date(Math.min(at, Date.now() - 60_000 - random.under(50_000_000))).toISOString().slice(0, 23)
  world.all.add(me.tag, text)
  return `${text}Z`
}

/** A key for a write that is done once, of the user's own. */
export function keyOf(world: World, me: Person, random: Drawing): string {
  const key = `key-${random.word()}`
  world.all.add(me.tag, key)
  remember(me, 'keys', key)
  return key
}

/** A write of nothing that is anybody's own: with another's key it is the very same request. */
export const PLAIN = { kind: 'fee', price: '1', currency: 'USD', traded_at: '2026-01-05' }

export const purchase = ({ world, random, me }: Turn) => ({
  symbol: random.chance(0.2) && me.own.length > 0 ? random.pick(me.own).symbol : random.pick(SYMBOLS),
  quantity: amount(world, me, random, 20),
  price: amount(world, me, random, 400),
  fees: amount(world, me, random, 5),
  traded_at: moment(world, me, random),
  note: note(world, me, random),
})

/** A file of activities, as Ghostfolio writes it: of assets of the user's own, and of everybody's. */
export function file({ world, random, me }: Turn, rows = 1 + random.under(3)): string {
  const activities = Array.from({ length: rows }, () => {
    const asset = random.pick(me.own)
    const manual = random.chance(0.6)
    return {
      symbol: manual ? asset.symbol : 'AAPL',
      dataSource: manual ? 'MANUAL' : 'YAHOO',
      currency: manual ? asset.currency : 'USD',
      date: moment(world, me, random),
      fee: 0,
      quantity: amount(world, me, random, 20),
      unitPrice: amount(world, me, random, 400),
      type: 'BUY',
      comment: note(world, me, random),
    }
  })
  const assetProfiles = me.own.map(({ symbol, name, currency }) => ({ symbol, name, currency, dataSource: 'MANUAL' }))
  return JSON.stringify({ meta: { version: 'x' }, assetProfiles, activities })
}

const once = (turn: Turn): Record<string, string> =>
  turn.random.chance(0.4) ? { 'idempotency-key': keyOf(turn.world, turn.me, turn.random) } : {}

/** Remembers what a write has made. */
function made(me: Person, answer: Answer | null, kinds: readonly ('lots' | 'activities')[]): void {
  const id = jsonOf(answer)?.id
  if (answer?.status !== 201 || typeof id !== 'string') return
  for (const kind of kinds) remember(me, kind, id)
}

async function buy(turn: Turn): Promise<unknown> {
  const { world, me } = turn
  if (isFull(me)) return remove(turn)
  const body = purchase(turn)
  const draft: Draft = { what: 'buy', as: me, method: 'POST', path: '/api/v1/stocks', headers: once(turn), body }
  const answer = await send(world, draft)
  made(me, answer, ['lots', 'activities'])
  // The same again, with the same key, is the same answer.
  if (answer?.status !== 201 || !draft.headers?.['idempotency-key'] || turn.random.chance(0.5)) return
  const again = await send(world, { ...draft, what: 'buy again' })
  if (again && again.body !== answer.body) world.judge.fault('an answer was not given again for its key')
}

async function enter(turn: Turn): Promise<unknown> {
  const { world, random, me } = turn
  if (isFull(me)) return remove(turn)
  const kind = random.pick(['dividend', 'fee', 'interest', 'tax', 'transfer_in', 'split'] as const)
  const rest = { traded_at: moment(world, me, random), note: note(world, me, random) }
  const price = amount(world, me, random, 30)
  const symbol = random.pick(SYMBOLS)
  const body =
    kind === 'split'
      ? { kind, symbol, split: { numerator: '11', denominator: '10' }, ...rest }
      : kind === 'dividend' || kind === 'transfer_in'
        ? { kind, symbol, quantity: amount(world, me, random, 20), price, ...rest }
        : { kind, price, currency: random.pick(me.currencies), ...rest }
  const draft = { what: 'enter', as: me, method: 'POST', path: '/api/v1/activities', headers: once(turn), body }
  made(me, await send(world, draft), kind === 'transfer_in' ? ['lots', 'activities'] : ['activities'])
}

async function change(turn: Turn): Promise<unknown> {
  const { world, random, me } = turn
  const id = random.pick(me.things.lots)
  if (id === undefined) return buy(turn)
  const body = random.pick([
    { note: note(world, me, random) },
    { price: amount(world, me, random, 400) },
    { fees: amount(world, me, random, 5), traded_at: moment(world, me, random) },
  ])
  const headers: Record<string, string> = random.chance(0.3) ? { 'if-match': '"v1"' } : once(turn)
  await send(world, { what: 'change', as: me, method: 'PATCH', path: `/api/v1/stocks/${id}`, headers, body })
}

async function remove(turn: Turn): Promise<void> {
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
  world.all.add(me.tag, quantity)
  const dry = random.chance(0.5)
  const body = {
    quantity,
    price: amount(world, me, random, 400),
    note: note(world, me, random),
    ...(random.chance(0.3) && { lots: [{ lot_id: id, quantity }] }),
  }
  const path = `/api/v1/stocks/${id}/sell${dry ? '?dry_run=true' : ''}`
  await send(world, { what: dry ? 'sale, dry' : 'sale', as: me, method: 'POST', path, body })
}

async function bring(turn: Turn): Promise<void> {
  const { world, random, me } = turn
  const whole = file(turn)
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
  const json = jsonOf(await send(world, { what: at, as: me, path }))
  for (const { id } of (json?.[at] ?? []) as { id: string }[]) remember(me, at === 'stocks' ? 'lots' : 'activities', id)
}

const one = ({ world, random, me }: Turn) => {
  const at = random.pick(['stocks', 'activities'] as const)
  const id = random.pick(me.things[at === 'stocks' ? 'lots' : 'activities']) ?? random.uuid()
  return send(world, { what: `one of ${at}`, as: me, path: `/api/v1/${at}/${id}` })
}

async function take(turn: Turn): Promise<void> {
  const { world, random, me } = turn
  const format = random.pick(['json', 'csv'])
  const answer = await send(world, { what: 'export', as: me, path: `/api/v1/portfolio/export?format=${format}` })
  if (answer?.status === 200 && format === 'json') me.file = answer.body
}

async function profile(turn: Turn): Promise<void> {
  const { world, random, me } = turn
  if (random.chance(0.5)) return void (await send(world, { what: 'profile', as: me, path: '/api/v1/users/profile' }))
  const name = `${me.tag} ${random.word()}`
  world.all.add(me.tag, name)
  const body = random.pick([{ name }, { currency: random.pick(me.currencies) }, { refresh_interval_seconds: 60 }])
  await send(world, { what: 'profile changed', as: me, method: 'PATCH', path: '/api/v1/users/profile', body })
}

const look = ({ world, random, me }: Turn) => {
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

/** The forms' fields have marks that a browser would have found in the page. */
const form = (fields: Record<string, string>): string => new URLSearchParams(fields).toString()
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

const page = ({ world, random, me }: Turn) => {
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

const write = (turn: Turn) => {
  const { world, random, me } = turn
  if (isFull(me)) return remove(turn)
  const { symbol, quantity, price, fees, note: of } = purchase(turn)
  const fields = { symbol, quantity, price, fees, note: of, key: keyOf(world, me, random) }
  return send(world, {
    what: 'form',
    as: me,
    by: 'cookies',
    method: 'POST',
    path: '/user/stocks',
    headers: FORM,
    body: form(fields),
    echoes: true,
  })
}

async function plain(turn: Turn): Promise<unknown> {
  const { world, random, me } = turn
  if (isFull(me)) return remove(turn)
  const headers = { 'idempotency-key': keyOf(world, me, random) }
  const draft = { what: 'plain', as: me, method: 'POST', path: '/api/v1/activities', headers, body: PLAIN }
  made(me, await send(world, draft), ['activities'])
}

/** Ends the session of the browser; all sockets of the user go with it. Then the next one begins. */
async function signOut({ world, me }: Turn): Promise<void> {
  const out = { what: 'sign-out', as: me, by: 'cookies' as const, method: 'POST' }
  await send(world, { ...out, path: '/api/v1/auth/sign-out', body: {} })
  await signIn(world, me)
}

/** Signs in; the token and the cookies are canaries like all else. */
export async function signIn(world: World, me: Person): Promise<void> {
  const { email, password } = me
  const origin = { origin: world.stage.url }
  const draft = { what: 'sign-in', as: null, method: 'POST', path: '/api/v1/auth/sign-in', headers: origin }
  // Who it is for, only the body says: it is looked at as what nobody asked for, once it is known whose it is.
  if (world.left <= 0) return
  world.left--
  const body = JSON.stringify({ email, password })
  const headers = { ...origin, 'content-type': 'application/json' }
  const answer = await world.wire.ask({ method: 'POST', path: draft.path, headers, body })
  const where = 'sign-in'
  world.judge.look({ to: me.tag, where, text: answer.text, sent: body, echoes: false })
  const token = jsonOf(answer)?.access_token
  if (typeof token !== 'string')
    return world.judge.fault(`${me.tag} could not sign in: ${answer.status} ${answer.body}`)
  me.token = token
  keepCookies(me, answer)
  for (const text of [token, ...me.cookies.values()]) world.all.add(me.tag, text)
  const { sub } = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as {
    sub: string
  }
  me.id = sub
  world.all.add(me.tag, sub)
}

/** What a user does with what is theirs: it moves what others must not see. */
export const OWN: readonly Kind[] = [
  { weight: 10, run: buy },
  { weight: 6, run: enter },
  { weight: 6, run: change },
  { weight: 5, run: remove },
  { weight: 6, run: sell },
  { weight: 4, run: bring },
  { weight: 10, run: list },
  { weight: 6, run: one },
  { weight: 3, run: take },
  { weight: 5, run: profile },
  { weight: 10, run: look },
  { weight: 2, run: refresh },
  { weight: 8, run: page },
  { weight: 3, run: write },
  { weight: 3, run: plain },
  { weight: 0.4, run: signOut },
]

/** What somebody with nothing does: looks at it. */
export const IDLE: readonly Kind[] = [
  { weight: 4, run: list },
  { weight: 4, run: look },
  { weight: 2, run: take },
  { weight: 2, run: ({ world, me }) => send(world, { what: 'profile', as: me, path: '/api/v1/users/profile' }) },
  { weight: 4, run: page },
  { weight: 0.2, run: signOut },
]
