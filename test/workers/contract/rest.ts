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

/** Prices, assets, products, candles, audits and health: for everybody. */
export async function publicAnswers({ note }: Answers): Promise<void> {
  const get = async (route: string, queries: Record<string, string>, pick?: (body: never) => unknown) => {
    for (const [asked, path] of Object.entries(queries)) await note(`GET ${route}`, asked, ask(path), pick)
  }
  await get('/get-price', {
    'an asset': '/get-price?symbol=KRBA',
    'an asset again': '/get-price?symbol=krba',
    'by its name at its provider': '/get-price?symbol=yahoo:KRBA',
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
  await note('POST /get-batch-prices', 'several', post('/get-batch-prices', batch))
  await note('POST /get-batch-prices', 'none', post('/get-batch-prices', { symbols: [] }))
  await note('POST /get-batch-prices', 'no JSON', post('/get-batch-prices', '{'))
  await note('POST /get-batch-prices', 'too large', post('/get-batch-prices', `"${'x'.repeat(2_000_000)}"`))
  const many = Array.from({ length: 2_000 }, (_, i) => `S${i}`)
  await note('POST /get-batch-prices', 'too many symbols', post('/get-batch-prices', { symbols: many }))
  const series = {
    'a week': '/get-history?symbol=KRBA&range=7d',
    'a month': '/get-history?symbol=KRBA&range=1m',
    'a month, not adjusted for splits': '/get-history?symbol=KRBA&range=1m&basis=raw',
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
  await note('GET /get-history', 'one that the client has', held)
  await note('POST /refresh-prices', 'some', refreshPrices({ symbols: ['KRBA', 'NOSUCHNAME'] }))
  await note('POST /refresh-prices', 'no key', ask('/refresh-prices', { method: 'POST' }))
  await note('POST /refresh-prices', 'wrong input', refreshPrices({ symbols: 'KRBA' }))
  await get('/api/v1/assets', {
    'by words': '/api/v1/assets?q=kerb+test',
    'a page of two': '/api/v1/assets?q=kerb+test&limit=2',
    'none found': '/api/v1/assets?q=no+such+thing',
    'a wrong cursor': '/api/v1/assets?after=nonsense',
    'a wrong limit': '/api/v1/assets?limit=0',
  })
  await get('/api/v1/assets/:symbol', {
    one: '/api/v1/assets/KRBA',
    'an unknown symbol': '/api/v1/assets/NOSUCHNAME',
    'an ambiguous symbol': '/api/v1/assets/KRBC',
  })
  await get('/api/v1/products', { all: '/api/v1/products' })
  await get('/api/v1/products/:id', {
    'an active one': '/api/v1/products/TWO-USD',
    'one that has no candles here': '/api/v1/products/OLD-USD',
    'an unknown one': '/api/v1/products/NO-USD',
  })
  const candles = '/api/v1/products/TWO-USD/candles?granularity=ONE_MINUTE'
  const range = `start=${CANDLES_FROM}&end=${CANDLES_FROM + 240}`
  await get('/api/v1/products/:id/candles', {
    'a range': `${candles}&${range}`,
    'a range filled': `${candles}&${range}&fill=flat`,
    'the last two': `${candles}&${range}&limit=2`,
    'times as RFC 3339': `${candles}&start=2021-01-04T10:01:00Z&end=2021-01-04T10:03:00Z`,
    'nothing there': `${candles}&start=${CANDLES_FROM - 240}&end=${CANDLES_FROM}`,
    'no granularity': '/api/v1/products/TWO-USD/candles',
    'an unknown granularity': '/api/v1/products/TWO-USD/candles?granularity=ONE',
    'an unknown product': '/api/v1/products/NO-USD/candles?granularity=ONE_DAY',
    'an end before the start': `${candles}&start=20&end=10`,
    'a limit that is too large': `${candles}&limit=1000000`,
    'a wrong fill': `${candles}&fill=all`,
  })
  await get('/api/v1/audit', {
    'a day of a product': '/api/v1/audit?product=TWO-USD&day=2021-01-04',
    'no audits': '/api/v1/audit?product=TWO-USD',
    'a wrong day': '/api/v1/audit?day=never',
    'an unknown product': '/api/v1/audit?product=NO-USD',
  })
  const stream = { 'last-event-id': '' }
  await get('/api/v1/stream', {
    'no product': '/api/v1/stream',
    'an unknown product': '/api/v1/stream?product=NO-USD&granularity=ONE_DAY',
    'a product that is not traded': '/api/v1/stream?product=NU-USD&granularity=ONE_DAY',
    'an unknown granularity': '/api/v1/stream?product=ONE-USD&granularity=ONE',
    'an unknown symbol': '/api/v1/stream?symbol=NOSUCHNAME',
    'an ambiguous symbol': '/api/v1/stream?symbol=KRBC',
    'a wrong passive': '/api/v1/stream?symbol=KRBA&passive=perhaps',
  })
  const head = ask('/api/v1/stream?symbol=KRBA', { method: 'HEAD', headers: stream })
  await note('GET /api/v1/stream', 'its headers alone', head)
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
    'a wrong number of bars': '/api/v1/datastar/chart?product=ONE-USD&granularity=ONE_DAY&bars=1e9',
  })
  await get('/openapi.json', {})
  const openapi = ask('/openapi.json', { headers: { origin: 'https://app.example' } })
  await note('GET /openapi.json', 'by the page of another origin', openapi, () => 'openapi.json')

  await get('/ws', { 'no handshake': '/ws' })
  await get('/ws/products/:id', { 'no handshake': '/ws/products/ONE-USD' })
  await get('/ws/portfolio', { 'no handshake': '/ws/portfolio' })
  const upgrade = (path: string, headers: Record<string, string> = {}) =>
    ask(path, { headers: { upgrade: 'websocket', ...headers } })
  await note('GET /ws', 'a ticket that is none', upgrade('/ws?ticket=x'))
  await note('GET /ws', 'a token in the address', upgrade('/ws?token=x'))
  await note('GET /ws/products/:id', 'an unknown product', upgrade('/ws/products/NO-USD'))
  await note('GET /ws/products/:id', 'a product that is not traded', upgrade('/ws/products/NU-USD'))
  await note('GET /ws/portfolio', 'nobody', upgrade('/ws/portfolio'))
  await note('GET /ws/portfolio', 'a token in the address', upgrade('/ws/portfolio?access_token=x'))
  await note('GET /ws/portfolio', 'the page of another origin', upgrade('/ws/portfolio', OTHER_ORIGIN))

  const noRequests = { ...here, REQUEST_LIMIT: { limit: async () => ({ success: false }) } } as unknown as Env
  await note('GET /api/v1/products', 'too many requests', getWithEnv(noRequests, '/api/v1/products'))
  const broken = { ...here, COINBASE_WS_URL: 'http://none' } as Env
  await note('GET /api/v1/products', 'settings that cannot be used', getWithEnv(broken, '/api/v1/products'))
}

/** What `/health` says before any feed is open. */
export async function healthAnswers({ note }: Answers): Promise<void> {
  await note('GET /health', 'all is well', ask('/health'))
  // Counters of boards and providers hang on what was asked before: their keys are compared.
  await note('GET /health', 'verbose', ask('/health?verbose'), keysOf)
  const nowhere = { connectionString: 'postgres://none:none@127.0.0.1:1/none' } as Hyperdrive
  await note('GET /health', 'no database', getWithEnv({ ...here, HYPERDRIVE: nowhere }, '/health'))
  const gone = { getByName: () => ({ open: () => Promise.reject(new Error('gone')) }) }
  const nothing = { ...here, HYPERDRIVE: nowhere, FEED_SLOTS: gone as unknown as Env['FEED_SLOTS'] }
  await note('GET /health', 'neither feeds nor database', getWithEnv(nothing, '/health'))
}

/** Signing up and in, passwords, profile, tickets. */
export async function accountAnswers({ note }: Answers): Promise<void> {
  const auth = (path: string) => `POST /api/v1/auth/${path}`
  const who = person(here)
  const email = 'ada@example.com'
  const enter = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    who.post(`/api/v1/auth/${path}`, body, headers)
  const signUp = { email, password: PASSWORD, name: 'Ada Lovelace' }
  await note(auth('sign-up'), 'a new person', enter('sign-up', signUp))
  const wrong = { email: 'nobody', password: 'short', name: ' ' }
  await note(auth('sign-up'), 'wrong input', enter('sign-up', wrong))
  await note(auth('sign-up'), 'the page of another origin', enter('sign-up', signUp, OTHER_ORIGIN))
  await note(auth('sign-in'), 'before the email is confirmed', enter('sign-in', { email, password: PASSWORD }))
  await note(auth('confirm'), 'a token that is none', enter('confirm', { token: 'no token' }))
  await note(auth('confirm'), 'the token', enter('confirm', { token: await confirmToken(email) }))
  await note(auth('sign-in'), 'a wrong password', enter('sign-in', { email, password: 'a wrong password' }))
  await note(auth('sign-in'), 'no password', enter('sign-in', { email }))
  await note(auth('sign-in'), 'email and password', enter('sign-in', { email, password: PASSWORD }))
  await note(auth('refresh'), 'the cookies', enter('refresh', {}))
  await note(auth('refresh'), 'no cookies', person(here).post('/api/v1/auth/refresh', {}))
  await note(auth('ticket'), 'the cookies', enter('ticket', {}))
  await note(auth('ticket'), 'nobody', post('/api/v1/auth/ticket', {}))
  await note(auth('ticket'), 'the page of another origin', enter('ticket', {}, OTHER_ORIGIN))
  await note('GET /api/v1/auth/jwks', 'the keys', ask('/api/v1/auth/jwks'))

  const profile = '/api/v1/users/profile'
  const patch = (body: unknown, headers: Record<string, string> = {}) => who.write('PATCH', profile, body, headers)
  await note(`GET ${profile}`, 'the cookies', who.ask(profile))
  await note(`GET ${profile}`, 'nobody', ask(profile))
  await note(`GET ${profile}`, 'a forged token', ask(profile, { headers: { authorization: 'Bearer x' } }))
  const change = { currency: 'chf', refresh_interval_seconds: 30 }
  await note(`PATCH ${profile}`, 'a change', patch(change))
  await note(`PATCH ${profile}`, 'wrong input', patch({ currency: 'XXY', name: '' }))
  await note(`PATCH ${profile}`, 'an unknown field', patch({ user_id: 'x' }))
  await note(`PATCH ${profile}`, 'the page of another origin', patch(change, OTHER_ORIGIN))
  await note(`PATCH ${profile}`, 'nobody', ask(profile, { method: 'PATCH', body: '{}' }))

  const next = { current_password: PASSWORD, password: 'another long password' }
  const guess = { ...next, current_password: 'a wrong password' }
  await note(auth('password/change'), 'a wrong password', enter('password/change', guess))
  await note(auth('password/change'), 'wrong input', enter('password/change', { ...next, password: 'short' }))
  await note(auth('password/change'), 'nobody', post('/api/v1/auth/password/change', next))
  await note(auth('password/change'), 'the present password', enter('password/change', next))
  await note(auth('password/reset-request'), 'an email', enter('password/reset-request', { email }))
  await note(auth('password/reset-request'), 'no email', enter('password/reset-request', {}))
  const { text } = await waitForMail(email, 'A new password for Kerb')
  const token = /token=(\S+)/.exec(text)?.[1]
  const reset = (password: string, by = token) => enter('password/reset', { token: by, password })
  await note(auth('password/reset'), 'wrong input', reset('short'))
  await note(auth('password/reset'), 'a token that is none', reset(PASSWORD, 'x'.repeat(24)))
  await note(auth('password/reset'), 'the token', reset(PASSWORD))
  await note(auth('refresh'), 'a session that has ended', enter('refresh', {}))
  await who.signIn({ email })
  await note(auth('sign-out'), 'the page of another origin', enter('sign-out', {}, OTHER_ORIGIN))
  await note(auth('sign-out'), 'the cookies', enter('sign-out', {}))
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

/** Lots, activities, import, export and history of somebody. */
export async function portfolioAnswers({ note }: Answers): Promise<void> {
  const me = await user()
  const { send } = me
  const idOf = async (answer: Promise<Response>) => ((await (await answer).json()) as { id: string }).id
  const nobodys = '00000000-0000-4000-8000-000000000000'
  const purchase = { symbol: 'KRBA', quantity: '2', price: '90.50', fees: '1', traded_at: '2020-03-02', note: 'first' }
  const add = (body: unknown, key?: string) =>
    send('POST', STOCKS, body, key === undefined ? {} : { 'idempotency-key': key })

  const enriched = '/api/v1/stocks/portfolio-enriched'
  const cached = '/api/v1/stocks/portfolio-cache'
  const idle = { ...here, REFRESH_QUEUE: { send: async () => {} } } as unknown as Env
  const mine = { headers: { authorization: `Bearer ${me.token}` } }
  await note(`GET ${enriched}`, 'not made yet', getWithEnv(idle, enriched, mine))
  await note(`GET ${cached}`, 'not made yet', getWithEnv(idle, cached, mine))
  await note(`GET ${enriched}`, 'nobody', ask(enriched))
  await note(`GET ${cached}`, 'nobody', ask(cached))

  const lot = await idOf(note(`POST ${STOCKS}`, 'a purchase', add(purchase, 'once')))
  await note(`POST ${STOCKS}`, 'the same with the same key', add(purchase, 'once'))
  await note(`POST ${STOCKS}`, 'another with the same key', add({ ...purchase, quantity: '3' }, 'once'))
  await note(`POST ${STOCKS}`, 'a wrong key', add(purchase, 'with space '.repeat(30)))
  await note(`POST ${STOCKS}`, 'wrong input', add({ symbol: 'KRBA', quantity: 2, price: '-1', what: 1 }))
  await note(`POST ${STOCKS}`, 'an unknown symbol', add({ ...purchase, symbol: 'NOSUCHNAME' }))
  await note(`POST ${STOCKS}`, 'an ambiguous symbol', add({ ...purchase, symbol: 'KRBC' }))
  await note(`POST ${STOCKS}`, 'nobody', post(STOCKS, purchase))
  await note(`POST ${STOCKS}`, 'no JSON', add('{'))
  await note(`POST ${STOCKS}`, 'the page of another origin', me.who.post(STOCKS, purchase, OTHER_ORIGIN))
  await note(`GET ${STOCKS}`, 'all', send('GET', STOCKS))
  await note(`GET ${STOCKS}`, 'the closed ones', send('GET', `${STOCKS}?open=false`))
  await note(`GET ${STOCKS}`, 'a wrong limit', send('GET', `${STOCKS}?limit=0`))
  await note(`GET ${STOCKS}`, 'nobody', ask(STOCKS))
  const one = `${STOCKS}/:id`
  await note(`GET ${one}`, 'one', send('GET', `${STOCKS}/${lot}`))
  await note(`GET ${one}`, 'an unknown one', send('GET', `${STOCKS}/${nobodys}`))
  await note(`GET ${one}`, 'what is no id', send('GET', `${STOCKS}/x`))
  const change = (body: unknown, headers: Record<string, string> = {}) =>
    send('PATCH', `${STOCKS}/${lot}`, body, headers)
  await note(`PATCH ${one}`, 'a change', change({ quantity: '3' }, { 'if-match': '"v1"' }))
  await note(`PATCH ${one}`, 'an older version', change({ quantity: '4' }, { 'if-match': '"v1"' }))
  await note(`PATCH ${one}`, 'wrong input', change({ quantity: '0', traded_at: 'never' }))
  await note(`PATCH ${one}`, 'an unknown one', send('PATCH', `${STOCKS}/${nobodys}`, { quantity: '3' }))
  const sell = (body: unknown, query = '') => send('POST', `${STOCKS}/${lot}/sell${query}`, body)
  const sale = { quantity: '1', price: '120', traded_at: '2020-03-05' }
  await note(`POST ${one}/sell`, 'a dry run', sell(sale, '?dry_run=true'))
  await note(`POST ${one}/sell`, 'a sale', sell(sale))
  await note(`POST ${one}/sell`, 'more than is held', sell({ ...sale, quantity: '9' }))
  await note(`POST ${one}/sell`, 'wrong input', sell({ quantity: 'all' }))
  const named = { ...sale, lots: [{ lot_id: nobodys, quantity: '1' }] }
  await note(`POST ${one}/sell`, 'a lot that is not there', sell(named))
  await note(`POST ${one}/sell`, 'an unknown lot', send('POST', `${STOCKS}/${nobodys}/sell`, sale))
  await note(`DELETE ${one}`, 'one that was sold of', send('DELETE', `${STOCKS}/${lot}`))
  const unsold = await idOf(add({ ...purchase, symbol: 'KRBB' }))
  await note(
    `DELETE ${one}`,
    'an older version',
    send('DELETE', `${STOCKS}/${unsold}`, undefined, { 'if-match': '"v9"' }),
  )
  await note(`DELETE ${one}`, 'one', send('DELETE', `${STOCKS}/${unsold}`))
  await note(`DELETE ${one}`, 'an unknown one', send('DELETE', `${STOCKS}/${unsold}`))

  const enter = (body: unknown) => send('POST', ACTIVITIES, body)
  const fee = await idOf(
    note(`POST ${ACTIVITIES}`, 'a fee', enter({ kind: 'fee', price: '2.50', traded_at: '2020-03-08' })),
  )
  const dividend = { kind: 'dividend', symbol: 'KRBA', quantity: '2', price: '0.75', traded_at: '2020-03-09T15:00:00Z' }
  await note(`POST ${ACTIVITIES}`, 'a dividend', enter(dividend))
  const split = { numerator: '2', denominator: '1' }
  await note(`POST ${ACTIVITIES}`, 'a split', enter({ kind: 'split', symbol: 'KRBA', split, traded_at: '2020-03-10' }))
  await note(`POST ${ACTIVITIES}`, 'an unknown kind', enter({ kind: 'gift' }))
  await note(`POST ${ACTIVITIES}`, 'more than is held', enter({ ...dividend, kind: 'sell', quantity: '99' }))
  await note(`POST ${ACTIVITIES}`, 'nobody', post(ACTIVITIES, dividend))
  await note(`GET ${ACTIVITIES}`, 'all', send('GET', ACTIVITIES))
  await note(`GET ${ACTIVITIES}`, 'of one kind', send('GET', `${ACTIVITIES}?kind=sell&symbol=KRBA&limit=1`))
  await note(`GET ${ACTIVITIES}`, 'a page of one', send('GET', `${ACTIVITIES}?limit=1`))
  await note(`GET ${ACTIVITIES}`, 'an unknown kind', send('GET', `${ACTIVITIES}?kind=gift`))
  const activity = `${ACTIVITIES}/:id`
  await note(`GET ${activity}`, 'one', send('GET', `${ACTIVITIES}/${fee}`))
  await note(`GET ${activity}`, 'an unknown one', send('GET', `${ACTIVITIES}/${nobodys}`))
  await note(`PATCH ${activity}`, 'a change', send('PATCH', `${ACTIVITIES}/${fee}`, { note: 'of the year' }))
  await note(`PATCH ${activity}`, 'a number', send('PATCH', `${ACTIVITIES}/${fee}`, { price: 2.5 }))
  const older = send('PATCH', `${ACTIVITIES}/${fee}`, { note: 'x' }, { 'if-match': '"v1"' })
  await note(`PATCH ${activity}`, 'an older version', older)
  await note(`PATCH ${activity}`, 'an unknown one', send('PATCH', `${ACTIVITIES}/${nobodys}`, { note: 'x' }))
  await note(`DELETE ${activity}`, 'one', send('DELETE', `${ACTIVITIES}/${fee}`))
  await note(`DELETE ${activity}`, 'an unknown one', send('DELETE', `${ACTIVITIES}/${fee}`))

  const imports = (body: string, query = '', type = 'text/csv') =>
    send('POST', `/api/v1/portfolio/import${query}`, body, { 'content-type': type })
  const route = 'POST /api/v1/portfolio/import'
  await note(route, 'a dry run', imports(TABLE, '?dry_run=true'))
  await note(route, 'a table', imports(TABLE))
  await note(route, 'the same once more', imports(TABLE))
  await note(route, 'a wrong row', imports(TABLE.replace('buy', 'gift')))
  await note(route, 'a dry run with a wrong row', imports(TABLE.replace('1.50', 'x'), '?dry_run=true'))
  await note(route, 'an unknown symbol', imports(TABLE.replaceAll('KRBB', 'NOSUCHNAME')))
  await note(route, 'an asset of one’s own', imports(TABLE.replaceAll('KRBB', 'NOSUCHNAME'), '?unknown=own'))
  await note(route, 'a wrong query', imports(TABLE, '?dry_run=maybe'))
  await note(route, 'what is no table', imports('\u0000'))
  await note(route, 'nobody', ask('/api/v1/portfolio/import', { method: 'POST', body: TABLE }))
  const exported = 'GET /api/v1/portfolio/export'
  await note(exported, 'as JSON', send('GET', '/api/v1/portfolio/export?format=json'))
  await note(exported, 'as CSV', send('GET', '/api/v1/portfolio/export?format=csv'))
  await note(exported, 'an unknown form', send('GET', '/api/v1/portfolio/export?format=pdf'))
  await note(exported, 'nobody', ask('/api/v1/portfolio/export'))

  const history = 'GET /api/v1/portfolio/history'
  await note(history, 'a week', send('GET', '/api/v1/portfolio/history?range=7d'), seriesOf)
  await note(history, 'an unknown range', send('GET', '/api/v1/portfolio/history?range=2w'))
  await note(history, 'nobody', ask('/api/v1/portfolio/history'))

  const refresh = 'POST /refresh-portfolio'
  const refreshing = (body: unknown, authorization = `Bearer ${me.token}`) =>
    getWithEnv(idle, '/refresh-portfolio', {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  await note(refresh, 'while one is under way', refreshing({}))
  await note(refresh, 'somebody else’s', refreshing({ userId: nobodys }))
  await note(refresh, 'with the service key', refreshing({ userId: nobodys }, `Bearer ${SERVICE_KEY}`))
  await note(refresh, 'with the service key, whose is not said', refreshing({}, `Bearer ${SERVICE_KEY}`))
  await note(refresh, 'nobody', ask('/refresh-portfolio', { method: 'POST' }))

  const other = await user()
  const made = await waitFor('the portfolio', async () => {
    const answer = await other.send('GET', enriched)
    return answer.status === 200 ? answer : null
  })
  await note(`GET ${enriched}`, 'nothing held', made)
  await note(`GET ${cached}`, 'nothing held', other.send('GET', cached))
  await other.send('POST', STOCKS, purchase)
  await note(`GET ${enriched}`, 'one asset held', other.send('GET', enriched))

  await setDatabaseOpen(false)
  try {
    await note(`GET ${STOCKS}`, 'no database', send('GET', STOCKS))
    await note('GET /api/v1/assets', 'no database', ask('/api/v1/assets?q=kerb'))
    await note('GET /api/v1/audit', 'no database', ask('/api/v1/audit'))
    const older = `/api/v1/products/TWO-USD/candles?granularity=ONE_MINUTE&start=${CANDLES_FROM}`
    await note('GET /api/v1/products/:id/candles', 'no database', ask(older))
  } finally {
    await setDatabaseOpen(true)
  }
}

/** An address of a route. */
const example = (path: string): string => path.replace(':symbol', 'KRBA').replace(/:id/, 'ONE-USD')

/** Of every address: what a method that it has not gets, a plain OPTIONS, and the preflight of another origin's page. */
export async function methodAnswers(): Promise<Record<string, unknown>> {
  const told = async (path: string, init: RequestInit) => {
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
      PUT: await told(example(path), { method: 'PUT', headers: { origin: ORIGIN } }),
      OPTIONS: await told(example(path), { method: 'OPTIONS' }),
      preflight: await told(example(path), { method: 'OPTIONS', headers: asked }),
    }
  }
  for (const path of ['/api/v1/nothing', '/nothing'])
    observed[path] = { GET: await told(path, {}), OPTIONS: await told(path, { method: 'OPTIONS' }) }
  return observed
}
