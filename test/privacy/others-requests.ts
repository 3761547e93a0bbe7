import { SERVICE_KEY } from './environment.ts'
import { forgedTokens } from './forged.ts'
import { ghostfolioFile, PLAIN_FEE, purchase, type RequestKind } from './own-requests.ts'
import { cookieHeader } from './person.ts'
import { jsonBody, type RequestDraft, send, sendTwins, type Turn } from './send.ts'

/** An unknown symbol in the form of custom assets' symbols. */
const unknownSymbol = ({ random }: Turn): string => `ZZ${random.symbol()}`

/** Another user's id in every path with an id: the response must equal that of a missing id. */
async function theirId(turn: Turn): Promise<void> {
  const { world, random, me, other } = turn
  const id = random.pick([...other.things.lots.slice(-20), ...other.things.activities.slice(-20)])
  if (id === undefined) return
  const at = random.pick(['stocks', 'activities'])
  const headers: Record<string, string> = random.chance(0.5) ? { 'if-match': random.pick(['*', '"v1"']) } : {}
  const sale = { quantity: '0.5', price: '10' }
  const drafts: RequestDraft[] = [
    { what: 'their id', as: me, path: `/api/v1/${at}/${id}` },
    { what: 'their id', as: me, path: `/api/v1/${at}/${id.toUpperCase()}` },
    { what: 'their id changed', as: me, method: 'PATCH', path: `/api/v1/${at}/${id}`, headers, body: { price: '1' } },
    { what: 'their id deleted', as: me, method: 'DELETE', path: `/api/v1/${at}/${id}`, headers },
    { what: 'their lot sold', as: me, method: 'POST', path: `/api/v1/stocks/${id}/sell`, body: sale },
    { what: 'their lot sold, dry', as: me, method: 'POST', path: `/api/v1/stocks/${id}/sell?dry_run=true`, body: sale },
    { what: 'page of their id', as: me, by: 'cookies', path: `/user/stocks/${id}/sell` },
    { what: 'page of their id', as: me, by: 'cookies', path: `/user/activities/${id}` },
    { what: 'page of their id', as: me, by: 'cookies', path: `/user/activities/${id}/delete` },
    { what: 'their id, nobody', as: null, path: `/api/v1/${at}/${id}` },
    { what: 'their id, nobody', as: null, path: `/user/activities/${id}`, headers: { accept: 'application/json' } },
  ]
  const draft = random.pick(drafts)
  // A signed-out user is redirected to the sign-in page.
  const refused = draft.as !== null || !draft.path.startsWith('/user')
  await sendTwins(world, { ...draft, refused, echoes: !refused }, id, random.uuid())
}

/** A form for another user's activity. */
async function theirForm(turn: Turn): Promise<void> {
  const { world, random, me, other } = turn
  const id = random.pick(other.things.activities)
  if (id === undefined) return
  const path = random.pick([`/user/activities/${id}`, `/user/activities/${id}/delete`, `/user/stocks/${id}/sell`])
  const body = new URLSearchParams({ version: '1', price: '1', quantity: '1', step: 'sell', take: 'lot' }).toString()
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  await send(world, { what: 'their form', as: me, by: 'cookies', method: 'POST', path, headers, body, refused: true })
}

/** A sale that names another user's lots. */
async function theirLotNamed(turn: Turn): Promise<void> {
  const { world, random, me, other } = turn
  const [ownLot, otherLot] = [random.pick(me.things.lots), random.pick(other.things.lots)]
  if (ownLot === undefined || otherLot === undefined) return
  const lots = [{ lot_id: otherLot, quantity: '0.001' }]
  const body = { quantity: '0.001', price: '1', lots }
  const path = `/api/v1/stocks/${ownLot}/sell?dry_run=${random.chance(0.5)}`
  await send(world, { what: 'their lot named', as: me, method: 'POST', path, body, refused: true })
}

/** The same request that another user has sent with this idempotency key. */
async function theirKey(turn: Turn): Promise<void> {
  const { world, random, me, other } = turn
  const key = random.pick(other.things.keys)
  if (key === undefined || me.things.keys.length === 0) return
  const headers = { 'idempotency-key': key }
  const draft = { what: 'their key', as: me, method: 'POST', path: '/api/v1/activities', headers, body: PLAIN_FEE }
  me.triedKeys.push(key)
  await send(world, draft)
}

/** Another user's cursor. */
async function theirCursor(turn: Turn): Promise<void> {
  const { world, random, me, other } = turn
  const cursor = random.pick(other.things.cursors)
  if (cursor === undefined) return
  const path = random.pick([`/api/v1/stocks?cursor=${cursor}`, `/api/v1/activities?limit=3&cursor=${cursor}`])
  await send(world, { what: 'their cursor', as: me, path })
  const after = `/user/stocks?after=${cursor}`
  if (random.chance(0.3)) await send(world, { what: 'their cursor', as: me, by: 'cookies', path: after, echoes: true })
}

/** Another user's custom asset, in every request that takes a symbol. */
async function theirSymbol(turn: Turn): Promise<void> {
  const { world, random, me, other } = turn
  const asset = random.pick(other.customAssets)
  if (asset === undefined) return
  const { symbol, name } = asset
  const q = encodeURIComponent(symbol)
  const what = 'their symbol'
  const body = { ...purchase(turn), symbol }
  const ownLot = random.pick(me.things.lots) ?? random.uuid()
  const as = random.chance(0.5) ? me : null
  const post = { what, as, method: 'POST', echoes: true }
  const drafts: RequestDraft[] = [
    { what, as: me, path: `/api/v1/stocks?symbol=${q}` },
    { what, as: me, path: `/api/v1/activities?symbol=${q}` },
    { what, as: me, method: 'POST', path: '/api/v1/stocks', body, refused: true },
    { what, as: me, method: 'POST', path: '/api/v1/activities', body: { ...body, kind: 'dividend' }, refused: true },
    { what, as: me, method: 'PATCH', path: `/api/v1/stocks/${ownLot}`, body: { symbol }, refused: true },
    { what, as: me, by: 'cookies', path: `/user/stocks?symbol=${q}`, echoes: true },
    { what, as, path: `/api/v1/assets?q=${q}` },
    { what, as, path: `/api/v1/assets?q=${encodeURIComponent(name)}` },
    { what, as, path: `/assets?q=${q}`, echoes: true },
    { what, as, path: `/api/v1/assets/${q}`, refused: true },
    { what, as, path: `/assets/${q}`, refused: true },
    { what, as, path: `/get-price?symbol=${q}`, refused: true },
    { what, as, path: `/get-history?symbol=${q}&range=1m`, refused: true },
    { ...post, path: '/get-batch-prices', body: { symbols: [symbol, 'AAPL'] } },
    { what: 'their symbol streamed', as, path: `/api/v1/stream?symbol=${q}`, refused: true },
  ]
  const draft = random.pick(drafts)
  // A name that is no valid symbol has no counterpart that is one.
  if (draft.refused && symbol.startsWith('ZZ') && random.chance(0.3))
    await sendTwins(world, draft, symbol, unknownSymbol(turn))
  else await send(world, draft)
}

/** An import of another user's data: it must neither match existing activities nor custom assets. */
async function theirFile(turn: Turn): Promise<void> {
  const { world, random, me, other } = turn
  const what = 'their file'
  const post = { as: me, method: 'POST', path: '/api/v1/portfolio/import?dry_run=true&unknown=own', echoes: true }
  if (other.file !== null && random.chance(0.4)) {
    const json = jsonBody(await send(world, { ...post, what, body: other.file }))
    // Fees of one dollar are no private data.
    const rows = (json?.activities ?? []) as { duplicate: boolean; kind: string }[]
    if (rows.some(({ duplicate, kind }) => duplicate && kind !== 'fee'))
      world.detector.fault(`${what}: what is ${other.tag}'s was taken for ${me.tag}'s`)
    return
  }
  const lot = random.pick(other.things.lots)
  const asset = random.pick(other.customAssets)
  if (lot === undefined || asset === undefined) return
  const row = { symbol: asset.symbol, dataSource: 'MANUAL', currency: 'USD', date: '2026-02-01', fee: 0, quantity: 1 }
  const sold = { ...row, symbol: 'AAPL', dataSource: 'YAHOO', id: 'x', type: 'SELL', unitPrice: 1 }
  const kerb = { lots: { x: [{ lot_id: lot, quantity: '1' }] } }
  const body = random.pick([
    JSON.stringify({ activities: [{ ...row, id: lot, type: 'BUY', unitPrice: 1 }] }),
    JSON.stringify({ activities: [sold], kerb }),
    JSON.stringify({ activities: [{ ...row, id: lot, type: 'BUY', unitPrice: -1 }] }),
  ])
  await send(world, { ...post, what, body })
  const path = post.path.replace('dry_run=true', 'dry_run=false')
  const own = JSON.stringify({ activities: [sold], kerb })
  if (random.chance(0.3)) await send(world, { ...post, what: `${what}, lot named`, path, body: own, refused: true })
}

async function theirRefresh({ world, random, me, other }: Turn): Promise<void> {
  const post = { what: 'their refresh', method: 'POST', path: '/refresh-portfolio', body: { userId: other.id } }
  const by = random.pick(['me', 'nobody', 'key'])
  if (by === 'key') {
    const headers = { authorization: `Bearer ${SERVICE_KEY}` }
    await send(world, { ...post, what: 'their refresh by the key', as: null, headers })
  } else await send(world, { ...post, as: by === 'me' ? me : null, refused: true })
}

/** Requests that claim another user's identity beside the sender's own token. */
async function impersonate({ world, random, me, other }: Turn): Promise<void> {
  const id = `${other.id}`
  const headers: Record<string, string> = {
    'x-user-id': id,
    'x-forwarded-user': other.email,
    'kerb-user': id,
    'kerb-until': '9999999999999',
    'request.jwt.claims': JSON.stringify({ sub: id }),
  }
  const path = random.pick(['/api/v1/stocks', '/api/v1/users/profile', '/api/v1/portfolio/export'])
  const query = `?user_id=${id}&userId=${id}&sub=${id}`
  const drafts: RequestDraft[] = [
    { what: 'said to be them', as: me, path: path + query, headers },
    // A bearer token takes precedence over cookies.
    { what: 'their cookies, my token', as: me, path, headers: { cookie: cookieHeader(other) } },
    {
      what: 'profile of another',
      as: me,
      method: 'PATCH',
      path: '/api/v1/users/profile',
      body: { user_id: id, email: other.email, name: 'x' },
      refused: true,
    },
    // A request from another site, with the visitor's cookies.
    {
      what: 'another site',
      as: me,
      by: 'cookies',
      method: 'POST',
      path: '/api/v1/auth/ticket',
      headers: { origin: 'https://evil.example' },
      body: {},
      refused: true,
    },
  ]
  await send(world, random.pick(drafts))
}

/** Forged or altered tokens. */
async function forgedToken({ world, random, me, other }: Turn): Promise<void> {
  const [how, token] = random.pick(await forgedTokens(world, me, other))
  const path = random.pick([
    '/api/v1/users/profile',
    '/api/v1/stocks',
    '/api/v1/portfolio/export',
    '/api/v1/stocks/portfolio-enriched',
    '/user',
  ])
  const ticket = random.chance(0.3)
  await send(world, {
    what: `forged: ${how}`,
    as: null,
    method: ticket ? 'POST' : 'GET',
    path: ticket ? '/api/v1/auth/ticket' : path,
    headers: { authorization: `Bearer ${token}` },
    refused: true,
  })
}

/** Account requests with another user's email: no response may reveal that it has an account. */
async function theirEmail({ world, random, me, other }: Turn): Promise<void> {
  const { email } = other
  const post = { as: null, method: 'POST', headers: { origin: world.environment.url }, echoes: true }
  const password = me.password
  const drafts: RequestDraft[] = [
    { ...post, what: 'their email', path: '/api/v1/auth/sign-in', body: { email, password }, refused: true },
    { ...post, what: 'sign-up of theirs', path: '/api/v1/auth/sign-up', body: { email, password, name: 'somebody' } },
    { ...post, what: 'reset of theirs', path: '/api/v1/auth/password/reset-request', body: { email } },
  ]
  await send(world, random.pick(drafts))
}

/** Public resources. */
async function publicPages({ world, random, me, other }: Turn): Promise<void> {
  const key: Record<string, string> = random.chance(0.5) ? { authorization: `Bearer ${SERVICE_KEY}` } : {}
  const as = random.chance(0.5) ? me : null
  const thing = random.pick([...other.things.lots, ...other.things.keys, `${other.id}`, other.name])
  const what = 'for everybody'
  const drafts: RequestDraft[] = [
    { what, as: null, path: '/health', headers: key },
    { what, as: null, path: '/health?verbose', headers: key },
    { what, as, path: '/openapi.json' },
    { what, as, path: '/docs' },
    { what, as, path: '/api/v1/auth/jwks' },
    { what, as, path: '/api/v1/assets?q=AA' },
    { what, as, path: '/get-price?symbol=AAPL' },
    { what, as: me, by: 'cookies', path: '/assets/AAPL' },
    { what, as: me, by: 'cookies', path: '/' },
    { what, as: null, path: `/sign-in?next=${encodeURIComponent(`/user/activities/${thing}`)}`, echoes: true },
    { what: 'no such address', as, path: `/api/v1/nothing/${encodeURIComponent(thing)}`, refused: true },
    {
      what: 'no such address',
      as,
      path: `/${encodeURIComponent(thing)}`,
      headers: { accept: 'text/html' },
      refused: true,
    },
    { what: 'no such method', as, method: 'PUT', path: '/api/v1/stocks', body: {}, refused: true },
    { what: 'not signed in', as: null, path: random.pick(['/api/v1/stocks', '/api/v1/users/profile']), refused: true },
    {
      what: 'preflight',
      as: null,
      method: 'OPTIONS',
      path: '/api/v1/stocks',
      headers: { origin: 'https://a.example' },
    },
    { what: 'head', as: me, method: 'HEAD', path: '/api/v1/stocks' },
    {
      what: 'a stream from their place',
      as,
      path: '/api/v1/stream?symbol=AAPL',
      headers: { 'last-event-id': random.pick(other.things.positions) ?? 'x' },
      stream: true,
    },
    { what: 'not my import', as: null, method: 'POST', path: '/api/v1/portfolio/import', body: '{}', refused: true },
  ]
  await send(world, random.pick(drafts))
}

/** Changes from outside: the price of an asset that several users hold, and a write without the Worker. */
async function publicChanges(turn: Turn): Promise<void> {
  const { world, random, me } = turn
  world.environment.setPrice('AAPL', 150 + random.under(10_000) / 100)
  const headers = { authorization: `Bearer ${SERVICE_KEY}` }
  const post = { as: null, method: 'POST', headers }
  await send(world, { ...post, what: 'prices', path: '/refresh-prices', body: { symbols: ['AAPL'] } })
  const id = me.things.activities.at(-1)
  if (id === undefined || random.chance(0.7)) return
  const note = `note ${random.word()}`
  world.canaries.add(me.tag, note)
  await world.environment.admin`UPDATE activities SET note = ${note} WHERE id = ${id}`
  await send(world, { ...post, what: 'past the Worker', path: '/_privacy/drain' })
}

/** Invalid files, bodies and paths: the error may name what is invalid, and no private data. */
async function malformedRequests(turn: Turn): Promise<void> {
  const { world, random, me } = turn
  const what = 'broken'
  const post = { what, as: me, method: 'POST', refused: true }
  const sheet = me.customAssets.length > 0 ? ghostfolioFile(turn, 1) : '{"activities":[{}]}'
  await send(
    world,
    random.pick<RequestDraft>([
      { ...post, path: '/api/v1/portfolio/import', body: sheet.replaceAll('"USD"', '7').replaceAll('BUY', 'x') },
      { ...post, path: '/api/v1/portfolio/import', body: 'Date,Code\n1,2,3' },
      { ...post, path: '/api/v1/portfolio/import', body: '\u0000\u0001' },
      { ...post, path: '/api/v1/stocks', body: { ...purchase(turn), quantity: 7 } },
      { ...post, path: '/api/v1/stocks', body: '{', headers: { 'content-type': 'application/json' } },
      { ...post, path: '/api/v1/activities', body: { kind: "'; SELECT * FROM activities; --" } },
      { what, as: me, path: `/api/v1/stocks?cursor=${random.word()}`, refused: true },
      { what, as: me, path: "/api/v1/stocks/' OR 1=1 --".replaceAll(' ', '%20'), refused: true },
    ]),
  )
}

/** Requests of a user for another user's data, and for public resources. */
export const OTHERS_REQUESTS: readonly RequestKind[] = [
  { weight: 14, run: theirId },
  { weight: 4, run: theirForm },
  { weight: 5, run: theirLotNamed },
  { weight: 5, run: theirKey },
  { weight: 5, run: theirCursor },
  { weight: 10, run: theirSymbol },
  { weight: 3, run: theirFile },
  { weight: 4, run: theirRefresh },
  { weight: 6, run: impersonate },
  { weight: 8, run: forgedToken },
  { weight: 0.4, run: theirEmail },
  { weight: 10, run: publicPages },
  { weight: 3, run: publicChanges },
  { weight: 4, run: malformedRequests },
]
