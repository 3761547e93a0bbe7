import { confirmToken, ORIGIN, PASSWORD, person, waitForMail } from '../support/person.ts'
import { getWithEnv, setDatabaseOpen, waitFor } from '../support/wire.ts'
import { type answers, ROUTES } from './answers.ts'
import { keysOf, normaliser, seriesOf } from './normal.ts'
import { ask, CANDLES_FROM, here, refreshPrices, SERVICE_KEY, user } from './world.ts'

type Answers = ReturnType<typeof answers>

const OTHER_ORIGIN = { origin: 'https://evil.example' }
const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  ask(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })

/** Prices, assets, products, candles and audits, and refused streams and sockets. */
export async function publicAnswers({ note }: Answers): Promise<void> {
  const get = async (route: string, queries: Record<string, string>, pick?: (body: never) => unknown) => {
    for (const [asked, path] of Object.entries(queries)) await note(`GET ${route}`, asked, ask(path), pick)
  }
  await get('/get-price', {
    'an asset': '/get-price?symbol=KRBA',
    'the same asset again': '/get-price?symbol=krba',
    'by provider name': '/get-price?symbol=yahoo:KRBA',
    'an unknown symbol': '/get-price?symbol=NOSUCHNAME',
    'an ambiguous symbol': '/get-price?symbol=KRBC',
    'an asset without a price': '/get-price?symbol=KRBM',
    'no symbol': '/get-price',
    'two symbols': '/get-price?symbol=KRBA&symbol=KRBB',
    'a malformed symbol': "/get-price?symbol=';--",
  })
  const noLookups = { ...here, LOOKUP_LIMIT: { limit: async () => ({ success: false }) } } as unknown as Env
  await note('GET /get-price', 'too many lookups', getWithEnv(noLookups, '/get-price?symbol=NOSUCHEITHER'))
  const batch = { symbols: ['KRBA', 'krbb', 'KRBC', 'NOSUCHNAME', '?'] }
  await note('POST /get-batch-prices', 'several symbols', post('/get-batch-prices', batch))
  await note('POST /get-batch-prices', 'no symbols', post('/get-batch-prices', { symbols: [] }))
  await note('POST /get-batch-prices', 'invalid JSON', post('/get-batch-prices', '{'))
  await note(
    'POST /get-batch-prices',
    'a body that is too large',
    post('/get-batch-prices', `"${'x'.repeat(2_000_000)}"`),
  )
  const many = Array.from({ length: 2_000 }, (_, i) => `S${i}`)
  await note('POST /get-batch-prices', 'too many symbols', post('/get-batch-prices', { symbols: many }))
  const series = {
    'a week': '/get-history?symbol=KRBA&range=7d',
    'a month': '/get-history?symbol=KRBA&range=1m',
    'a month, unadjusted': '/get-history?symbol=KRBA&range=1m&basis=raw',
  }
  await get('/get-history', series, seriesOf)
  await get('/get-history', {
    'not loaded yet': '/get-history?symbol=KRBB&range=1m',
    'an unknown range': '/get-history?symbol=KRBA&range=2w',
    'an unknown symbol': '/get-history?symbol=NOSUCHNAME&range=7d',
    'an ambiguous symbol': '/get-history?symbol=KRBC&range=7d',
    'no symbol': '/get-history',
  })
  const tag = (await ask('/get-history?symbol=KRBA&range=7d')).headers.get('etag') ?? ''
  const held = ask('/get-history?symbol=KRBA&range=7d', { headers: { 'if-none-match': tag } })
  await note('GET /get-history', 'If-None-Match with the current ETag', held)
  await note(
    'POST /refresh-prices',
    'two symbols, one of them unknown',
    refreshPrices({ symbols: ['KRBA', 'NOSUCHNAME'] }),
  )
  await note('POST /refresh-prices', 'without the service key', ask('/refresh-prices', { method: 'POST' }))
  await note('POST /refresh-prices', 'invalid input', refreshPrices({ symbols: 'KRBA' }))
  await get('/api/v1/assets', {
    'by words': '/api/v1/assets?q=kerb+test',
    'a page of two': '/api/v1/assets?q=kerb+test&limit=2',
    'no match': '/api/v1/assets?q=no+such+thing',
    'an invalid cursor': '/api/v1/assets?after=nonsense',
    'an invalid limit': '/api/v1/assets?limit=0',
  })
  await get('/api/v1/assets/:symbol', {
    one: '/api/v1/assets/KRBA',
    'an unknown symbol': '/api/v1/assets/NOSUCHNAME',
    'an ambiguous symbol': '/api/v1/assets/KRBC',
  })
  await get('/api/v1/products', { all: '/api/v1/products' })
  await get('/api/v1/products/:id', {
    'an active product': '/api/v1/products/TWO-USD',
    'an inactive product': '/api/v1/products/OLD-USD',
    unknown: '/api/v1/products/NO-USD',
  })
  const candles = '/api/v1/products/TWO-USD/candles?granularity=ONE_MINUTE'
  const range = `start=${CANDLES_FROM}&end=${CANDLES_FROM + 240}`
  await get('/api/v1/products/:id/candles', {
    'a range': `${candles}&${range}`,
    'a range filled': `${candles}&${range}&fill=flat`,
    'the last two': `${candles}&${range}&limit=2`,
    'RFC 3339 times': `${candles}&start=2021-01-04T10:01:00Z&end=2021-01-04T10:03:00Z`,
    'an empty range': `${candles}&start=${CANDLES_FROM - 240}&end=${CANDLES_FROM}`,
    'no granularity': '/api/v1/products/TWO-USD/candles',
    'an unknown granularity': '/api/v1/products/TWO-USD/candles?granularity=ONE',
    'an unknown product': '/api/v1/products/NO-USD/candles?granularity=ONE_DAY',
    'an end before the start': `${candles}&start=20&end=10`,
    'a limit that is too large': `${candles}&limit=1000000`,
    'an invalid fill': `${candles}&fill=all`,
  })
  await get('/api/v1/audit', {
    'a day of a product': '/api/v1/audit?product=TWO-USD&day=2021-01-04',
    'no audits': '/api/v1/audit?product=TWO-USD',
    'an invalid day': '/api/v1/audit?day=never',
    'an unknown product': '/api/v1/audit?product=NO-USD',
  })
  const stream = { 'last-event-id': '' }
  await get('/api/v1/stream', {
    'no product': '/api/v1/stream',
    'an unknown product': '/api/v1/stream?product=NO-USD&granularity=ONE_DAY',
    'an offline product': '/api/v1/stream?product=NU-USD&granularity=ONE_DAY',
    'an unknown granularity': '/api/v1/stream?product=ONE-USD&granularity=ONE',
    'an unknown symbol': '/api/v1/stream?symbol=NOSUCHNAME',
    'an ambiguous symbol': '/api/v1/stream?symbol=KRBC',
    'an invalid passive': '/api/v1/stream?symbol=KRBA&passive=perhaps',
  })
  const head = ask('/api/v1/stream?symbol=KRBA', { method: 'HEAD', headers: stream })
  await note('GET /api/v1/stream', 'HEAD', head)
  const one = { ...here, MAX_CHANNELS: '1' } as unknown as Env
  await note('GET /api/v1/stream', 'too many symbols', getWithEnv(one, '/api/v1/stream?symbol=KRBA,KRBB'))
  const noSockets = { ...here, SOCKET_LIMIT: { limit: async () => ({ success: false }) } } as unknown as Env
  await note('GET /api/v1/stream', 'too many streams', getWithEnv(noSockets, '/api/v1/stream?symbol=KRBA'))
  await get('/api/v1/datastar', {
    'no product': '/api/v1/datastar',
    'an unknown product': '/api/v1/datastar?product=NO-USD&granularity=ONE_DAY',
  })
  await get('/api/v1/datastar/chart', {
    'no granularity': '/api/v1/datastar/chart?product=ONE-USD',
    'an invalid number of bars': '/api/v1/datastar/chart?product=ONE-USD&granularity=ONE_DAY&bars=1e9',
  })
  await get('/openapi.json', {})
  const openapi = ask('/openapi.json', { headers: { origin: 'https://app.example' } })
  await note('GET /openapi.json', 'from another origin', openapi, () => 'openapi.json')

  await get('/ws', { 'without an Upgrade header': '/ws' })
  await get('/ws/products/:id', { 'without an Upgrade header': '/ws/products/ONE-USD' })
  await get('/ws/portfolio', { 'without an Upgrade header': '/ws/portfolio' })
  const upgrade = (path: string, headers: Record<string, string> = {}) =>
    ask(path, { headers: { upgrade: 'websocket', ...headers } })
  await note('GET /ws', 'an invalid ticket', upgrade('/ws?ticket=x'))
  await note('GET /ws', 'a token in the address', upgrade('/ws?token=x'))
  await note('GET /ws/products/:id', 'an unknown product', upgrade('/ws/products/NO-USD'))
  await note('GET /ws/products/:id', 'an offline product', upgrade('/ws/products/NU-USD'))
  await note('GET /ws/portfolio', 'without a session', upgrade('/ws/portfolio'))
  await note('GET /ws/portfolio', 'a token in the address', upgrade('/ws/portfolio?access_token=x'))
  await note('GET /ws/portfolio', 'from another origin', upgrade('/ws/portfolio', OTHER_ORIGIN))

  const noRequests = { ...here, REQUEST_LIMIT: { limit: async () => ({ success: false }) } } as unknown as Env
  await note('GET /api/v1/products', 'too many requests', getWithEnv(noRequests, '/api/v1/products'))
  const broken = { ...here, COINBASE_WS_URL: 'http://none' } as Env
  await note('GET /api/v1/products', 'invalid settings', getWithEnv(broken, '/api/v1/products'))
}

/** `/health` before any feed is open. */
export async function healthAnswers({ note }: Answers): Promise<void> {
  await note('GET /health', 'healthy', ask('/health'))
  // Counters depend on the requests before: only keys are compared.
  await note('GET /health', 'verbose', ask('/health?verbose'), keysOf)
  const nowhere = { connectionString: 'postgres://none:none@127.0.0.1:1/none' } as Hyperdrive
  await note('GET /health', 'without a database', getWithEnv({ ...here, HYPERDRIVE: nowhere }, '/health'))
  const gone = { getByName: () => ({ open: () => Promise.reject(new Error('gone')) }) }
  const nothing = { ...here, HYPERDRIVE: nowhere, FEED_SLOTS: gone as unknown as Env['FEED_SLOTS'] }
  await note('GET /health', 'without feeds and database', getWithEnv(nothing, '/health'))
}

/** Sign-up, sign-in, passwords, profile and tickets. */
export async function accountAnswers({ note }: Answers): Promise<void> {
  const auth = (path: string) => `POST /api/v1/auth/${path}`
  const who = person(here)
  const email = 'ada@example.com'
  const enter = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    who.post(`/api/v1/auth/${path}`, body, headers)
  const signUp = { email, password: PASSWORD, name: 'Ada Lovelace' }
  await note(auth('sign-up'), 'a new person', enter('sign-up', signUp))
  const wrong = { email: 'nobody', password: 'short', name: ' ' }
  await note(auth('sign-up'), 'invalid input', enter('sign-up', wrong))
  await note(auth('sign-up'), 'from another origin', enter('sign-up', signUp, OTHER_ORIGIN))
  await note(auth('sign-in'), 'before the email is confirmed', enter('sign-in', { email, password: PASSWORD }))
  await note(auth('confirm'), 'an invalid token', enter('confirm', { token: 'no token' }))
  await note(auth('confirm'), 'a valid token', enter('confirm', { token: await confirmToken(email) }))
  await note(auth('sign-in'), 'a wrong password', enter('sign-in', { email, password: 'a wrong password' }))
  await note(auth('sign-in'), 'no password', enter('sign-in', { email }))
  await note(auth('sign-in'), 'email and password', enter('sign-in', { email, password: PASSWORD }))
  await note(auth('refresh'), 'with cookies', enter('refresh', {}))
  await note(auth('refresh'), 'without cookies', person(here).post('/api/v1/auth/refresh', {}))
  await note(auth('ticket'), 'with cookies', enter('ticket', {}))
  await note(auth('ticket'), 'without a session', post('/api/v1/auth/ticket', {}))
  await note(auth('ticket'), 'from another origin', enter('ticket', {}, OTHER_ORIGIN))
  await note('GET /api/v1/auth/jwks', 'the keys', ask('/api/v1/auth/jwks'))

  const profile = '/api/v1/users/profile'
  const patch = (body: unknown, headers: Record<string, string> = {}) => who.write('PATCH', profile, body, headers)
  await note(`GET ${profile}`, 'with cookies', who.ask(profile))
  await note(`GET ${profile}`, 'without a session', ask(profile))
  await note(`GET ${profile}`, 'a forged token', ask(profile, { headers: { authorization: 'Bearer x' } }))
  const change = { currency: 'chf', refresh_interval_seconds: 30 }
  await note(`PATCH ${profile}`, 'a change', patch(change))
  await note(`PATCH ${profile}`, 'invalid input', patch({ currency: 'XXY', name: '' }))
  await note(`PATCH ${profile}`, 'an unknown field', patch({ user_id: 'x' }))
  await note(`PATCH ${profile}`, 'from another origin', patch(change, OTHER_ORIGIN))
  await note(`PATCH ${profile}`, 'without a session', ask(profile, { method: 'PATCH', body: '{}' }))

  const next = { current_password: PASSWORD, password: 'another long password' }
  const guess = { ...next, current_password: 'a wrong password' }
  await note(auth('password/change'), 'a wrong password', enter('password/change', guess))
  await note(auth('password/change'), 'invalid input', enter('password/change', { ...next, password: 'short' }))
  await note(auth('password/change'), 'without a session', post('/api/v1/auth/password/change', next))
  await note(auth('password/change'), 'the current password', enter('password/change', next))
  await note(auth('password/reset-request'), 'an email', enter('password/reset-request', { email }))
  await note(auth('password/reset-request'), 'no email', enter('password/reset-request', {}))
  const { text } = await waitForMail(email, 'Set a new password for Kerb')
  const token = /token=(\S+)/.exec(text)?.[1]
  const reset = (password: string, by = token) => enter('password/reset', { token: by, password })
  await note(auth('password/reset'), 'invalid input', reset('short'))
  await note(auth('password/reset'), 'an invalid token', reset(PASSWORD, 'x'.repeat(24)))
  await note(auth('password/reset'), 'a valid token', reset(PASSWORD))
  await note(auth('refresh'), 'an ended session', enter('refresh', {}))
  await who.signIn({ email })
  await note(auth('sign-out'), 'from another origin', enter('sign-out', {}, OTHER_ORIGIN))
  await note(auth('sign-out'), 'with cookies', enter('sign-out', {}))
  const noAttempts = { ...here, AUTH_LIMIT: { limit: async () => ({ success: false }) } } as unknown as Env
  const braked = getWithEnv(noAttempts, '/api/v1/auth/sign-in', { method: 'POST', body: '{}' })
  await note(auth('sign-in'), 'too many attempts', braked)
}

const STOCKS = '/api/v1/stocks'
const ACTIVITIES = '/api/v1/activities'
const TABLE = `date,symbol,type,quantity,price,currency
2020-03-06,KRBB,buy,1.50,100,USD
2020-03-07,KRBB,sell,0.50,110,USD
`

// Another month, so that no two activities have the same time.
const CUSTOM_TABLE = TABLE.replaceAll('KRBB', 'NOSUCHNAME').replaceAll('2020-03', '2020-04')

/** Lots, activities, import, export and history of one user. */
export async function portfolioAnswers({ note }: Answers): Promise<void> {
  const me = await user()
  const { send } = me
  const idOf = async (answer: Promise<Response>) => ((await (await answer).json()) as { id: string }).id
  const unknownId = '00000000-0000-4000-8000-000000000000'
  const purchase = { symbol: 'KRBA', quantity: '2', price: '90.50', fees: '1', traded_at: '2020-03-02', note: 'first' }
  const add = (body: unknown, key?: string) =>
    send('POST', STOCKS, body, key === undefined ? {} : { 'idempotency-key': key })

  const enriched = '/api/v1/stocks/portfolio-enriched'
  const cached = '/api/v1/stocks/portfolio-cache'
  const idle = { ...here, REFRESH_QUEUE: { send: async () => {} } } as unknown as Env
  const mine = { headers: { authorization: `Bearer ${me.token}` } }
  await note(`GET ${enriched}`, 'not computed yet', getWithEnv(idle, enriched, mine))
  await note(`GET ${cached}`, 'not computed yet', getWithEnv(idle, cached, mine))
  await note(`GET ${enriched}`, 'without a session', ask(enriched))
  await note(`GET ${cached}`, 'without a session', ask(cached))

  const lot = await idOf(note(`POST ${STOCKS}`, 'a purchase', add(purchase, 'once')))
  await note(`POST ${STOCKS}`, 'the same request with the same idempotency key', add(purchase, 'once'))
  await note(
    `POST ${STOCKS}`,
    'another request with the same idempotency key',
    add({ ...purchase, quantity: '3' }, 'once'),
  )
  await note(`POST ${STOCKS}`, 'an invalid idempotency key', add(purchase, 'with space '.repeat(30)))
  await note(`POST ${STOCKS}`, 'invalid input', add({ symbol: 'KRBA', quantity: 2, price: '-1', what: 1 }))
  await note(`POST ${STOCKS}`, 'an unknown symbol', add({ ...purchase, symbol: 'NOSUCHNAME' }))
  await note(`POST ${STOCKS}`, 'an ambiguous symbol', add({ ...purchase, symbol: 'KRBC' }))
  await note(`POST ${STOCKS}`, 'without a session', post(STOCKS, purchase))
  await note(`POST ${STOCKS}`, 'invalid JSON', add('{'))
  await note(`POST ${STOCKS}`, 'from another origin', me.who.post(STOCKS, purchase, OTHER_ORIGIN))
  await note(`GET ${STOCKS}`, 'all', send('GET', STOCKS))
  await note(`GET ${STOCKS}`, 'closed lots', send('GET', `${STOCKS}?open=false`))
  await note(`GET ${STOCKS}`, 'an invalid limit', send('GET', `${STOCKS}?limit=0`))
  await note(`GET ${STOCKS}`, 'without a session', ask(STOCKS))
  const one = `${STOCKS}/:id`
  await note(`GET ${one}`, 'one', send('GET', `${STOCKS}/${lot}`))
  await note(`GET ${one}`, 'unknown', send('GET', `${STOCKS}/${unknownId}`))
  await note(`GET ${one}`, 'an invalid id', send('GET', `${STOCKS}/x`))
  const change = (body: unknown, headers: Record<string, string> = {}) =>
    send('PATCH', `${STOCKS}/${lot}`, body, headers)
  await note(`PATCH ${one}`, 'a change', change({ quantity: '3' }, { 'if-match': '"v1"' }))
  await note(`PATCH ${one}`, 'an outdated version', change({ quantity: '4' }, { 'if-match': '"v1"' }))
  await note(`PATCH ${one}`, 'invalid input', change({ quantity: '0', traded_at: 'never' }))
  await note(`PATCH ${one}`, 'unknown', send('PATCH', `${STOCKS}/${unknownId}`, { quantity: '3' }))
  const sell = (body: unknown, query = '') => send('POST', `${STOCKS}/${lot}/sell${query}`, body)
  const sale = { quantity: '1', price: '120', traded_at: '2020-03-05' }
  await note(`POST ${one}/sell`, 'a dry run', sell(sale, '?dry_run=true'))
  await note(`POST ${one}/sell`, 'a sale', sell(sale))
  await note(`POST ${one}/sell`, 'more than the holding', sell({ ...sale, quantity: '9' }))
  await note(`POST ${one}/sell`, 'invalid input', sell({ quantity: 'all' }))
  const named = { ...sale, lots: [{ lot_id: unknownId, quantity: '1' }] }
  await note(`POST ${one}/sell`, 'an unknown named lot', sell(named))
  await note(`POST ${one}/sell`, 'an unknown lot', send('POST', `${STOCKS}/${unknownId}/sell`, sale))
  await note(`DELETE ${one}`, 'a partly sold lot', send('DELETE', `${STOCKS}/${lot}`))
  const unsold = await idOf(add({ ...purchase, symbol: 'KRBB' }))
  await note(
    `DELETE ${one}`,
    'an outdated version',
    send('DELETE', `${STOCKS}/${unsold}`, undefined, { 'if-match': '"v9"' }),
  )
  await note(`DELETE ${one}`, 'one', send('DELETE', `${STOCKS}/${unsold}`))
  await note(`DELETE ${one}`, 'unknown', send('DELETE', `${STOCKS}/${unsold}`))

  const enter = (body: unknown) => send('POST', ACTIVITIES, body)
  const fee = await idOf(
    note(`POST ${ACTIVITIES}`, 'a fee', enter({ kind: 'fee', price: '2.50', traded_at: '2020-03-08' })),
  )
  const dividend = { kind: 'dividend', symbol: 'KRBA', quantity: '2', price: '0.75', traded_at: '2020-03-09T15:00:00Z' }
  await note(`POST ${ACTIVITIES}`, 'a dividend', enter(dividend))
  const split = { numerator: '2', denominator: '1' }
  await note(`POST ${ACTIVITIES}`, 'a split', enter({ kind: 'split', symbol: 'KRBA', split, traded_at: '2020-03-10' }))
  await note(`POST ${ACTIVITIES}`, 'an unknown kind', enter({ kind: 'gift' }))
  await note(`POST ${ACTIVITIES}`, 'more than the holding', enter({ ...dividend, kind: 'sell', quantity: '99' }))
  await note(`POST ${ACTIVITIES}`, 'without a session', post(ACTIVITIES, dividend))
  await note(`GET ${ACTIVITIES}`, 'all', send('GET', ACTIVITIES))
  await note(`GET ${ACTIVITIES}`, 'of one kind', send('GET', `${ACTIVITIES}?kind=sell&symbol=KRBA&limit=1`))
  await note(`GET ${ACTIVITIES}`, 'a page of one', send('GET', `${ACTIVITIES}?limit=1`))
  await note(`GET ${ACTIVITIES}`, 'an unknown kind', send('GET', `${ACTIVITIES}?kind=gift`))
  const activity = `${ACTIVITIES}/:id`
  await note(`GET ${activity}`, 'one', send('GET', `${ACTIVITIES}/${fee}`))
  await note(`GET ${activity}`, 'unknown', send('GET', `${ACTIVITIES}/${unknownId}`))
  await note(`PATCH ${activity}`, 'a change', send('PATCH', `${ACTIVITIES}/${fee}`, { note: 'of the year' }))
  await note(`PATCH ${activity}`, 'a number instead of text', send('PATCH', `${ACTIVITIES}/${fee}`, { price: 2.5 }))
  const older = send('PATCH', `${ACTIVITIES}/${fee}`, { note: 'x' }, { 'if-match': '"v1"' })
  await note(`PATCH ${activity}`, 'an outdated version', older)
  await note(`PATCH ${activity}`, 'unknown', send('PATCH', `${ACTIVITIES}/${unknownId}`, { note: 'x' }))
  await note(`DELETE ${activity}`, 'one', send('DELETE', `${ACTIVITIES}/${fee}`))
  await note(`DELETE ${activity}`, 'unknown', send('DELETE', `${ACTIVITIES}/${fee}`))

  const imports = (body: string, query = '', type = 'text/csv') =>
    send('POST', `/api/v1/portfolio/import${query}`, body, { 'content-type': type })
  const route = 'POST /api/v1/portfolio/import'
  await note(route, 'a dry run', imports(TABLE, '?dry_run=true'))
  await note(route, 'a table', imports(TABLE))
  await note(route, 'the same table again', imports(TABLE))
  await note(route, 'an invalid row', imports(TABLE.replace('buy', 'gift')))
  await note(route, 'a dry run with an invalid row', imports(TABLE.replace('1.50', 'x'), '?dry_run=true'))
  await note(route, 'an unknown symbol', imports(TABLE.replaceAll('KRBB', 'NOSUCHNAME')))
  await note(route, 'a custom asset', imports(CUSTOM_TABLE, '?unknown=own'))
  await note(route, 'an invalid query', imports(TABLE, '?dry_run=maybe'))
  await note(route, 'not a table', imports('\u0000'))
  await note(route, 'without a session', ask('/api/v1/portfolio/import', { method: 'POST', body: TABLE }))
  const exported = 'GET /api/v1/portfolio/export'
  await note(exported, 'as JSON', send('GET', '/api/v1/portfolio/export?format=json'))
  await note(exported, 'as CSV', send('GET', '/api/v1/portfolio/export?format=csv'))
  await note(exported, 'an unknown format', send('GET', '/api/v1/portfolio/export?format=pdf'))
  await note(exported, 'without a session', ask('/api/v1/portfolio/export'))

  const history = 'GET /api/v1/portfolio/history'
  await note(history, 'a week', send('GET', '/api/v1/portfolio/history?range=7d'), seriesOf)
  await note(history, 'an unknown range', send('GET', '/api/v1/portfolio/history?range=2w'))
  await note(history, 'without a session', ask('/api/v1/portfolio/history'))

  const refresh = 'POST /refresh-portfolio'
  const refreshing = (body: unknown, authorization = `Bearer ${me.token}`) =>
    getWithEnv(idle, '/refresh-portfolio', {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  await note(refresh, 'while a refresh is pending', refreshing({}))
  await note(refresh, 'another user', refreshing({ userId: unknownId }))
  await note(refresh, 'with the service key', refreshing({ userId: unknownId }, `Bearer ${SERVICE_KEY}`))
  await note(refresh, 'with the service key and no user', refreshing({}, `Bearer ${SERVICE_KEY}`))
  await note(refresh, 'without a session', ask('/refresh-portfolio', { method: 'POST' }))

  const other = await user()
  const made = await waitFor('the portfolio', async () => {
    const answer = await other.send('GET', enriched)
    return answer.status === 200 ? answer : null
  })
  await note(`GET ${enriched}`, 'no holdings', made)
  await note(`GET ${cached}`, 'no holdings', other.send('GET', cached))
  await other.send('POST', STOCKS, purchase)
  await note(`GET ${enriched}`, 'one holding', other.send('GET', enriched))

  await setDatabaseOpen(false)
  try {
    await note(`GET ${STOCKS}`, 'without a database', send('GET', STOCKS))
    await note('GET /api/v1/assets', 'without a database', ask('/api/v1/assets?q=kerb'))
    await note('GET /api/v1/audit', 'without a database', ask('/api/v1/audit'))
    const older = `/api/v1/products/TWO-USD/candles?granularity=ONE_MINUTE&start=${CANDLES_FROM}`
    await note('GET /api/v1/products/:id/candles', 'without a database', ask(older))
  } finally {
    await setDatabaseOpen(true)
  }
}

/** A path that a route matches. */
const example = (path: string): string => path.replace(':symbol', 'KRBA').replace(/:id/, 'ONE-USD')

/** For every path: the answers to an unsupported method, to a plain OPTIONS and to a preflight request. */
export async function methodAnswers(): Promise<Record<string, unknown>> {
  const summary = async (path: string, init: RequestInit) => {
    const response = await ask(path, init)
    const names = [...response.headers.keys()].filter((name) => /^(?:access-control|allow|vary)/.test(name))
    const headers = Object.fromEntries(names.map((name) => [name, response.headers.get(name)]))
    const text = await response.text()
    const code = text === '' ? {} : { code: (normaliser().json(text) as { code: string }).code }
    return { status: response.status, ...headers, ...code }
  }
  const observed: Record<string, unknown> = {}
  for (const path of new Set(ROUTES.map((route) => route.split(' ')[1] as string))) {
    const asked = { origin: 'https://app.example', 'access-control-request-method': 'POST' }
    observed[path] = {
      PUT: await summary(example(path), { method: 'PUT', headers: { origin: ORIGIN } }),
      OPTIONS: await summary(example(path), { method: 'OPTIONS' }),
      preflight: await summary(example(path), { method: 'OPTIONS', headers: asked }),
    }
  }
  for (const path of ['/api/v1/nothing', '/nothing'])
    observed[path] = { GET: await summary(path, {}), OPTIONS: await summary(path, { method: 'OPTIONS' }) }
  return observed
}
