import { confirmToken, PASSWORD, person, waitForMail } from '../support/person.ts'
import type { answers } from './answers.ts'
import { ask, here } from './world.ts'

type Answers = ReturnType<typeof answers>

const OTHER_ORIGIN = { origin: 'https://evil.example' }
const html = { headers: { accept: 'text/html' } }

/** The pages of products, assets, audits and the API. */
export async function publicPages({ note }: Answers): Promise<void> {
  const pages: Record<string, Record<string, string>> = {
    '/': { 'the list': '/' },
    '/products/:id': {
      'an online product': '/products/TWO-USD',
      'an offline product': '/products/NU-USD',
      unknown: '/products/NO-USD',
      'an unknown granularity': '/products/TWO-USD?granularity=ONE',
    },
    '/products/:id/facts': { one: '/products/ONE-USD/facts', unknown: '/products/NO-USD/facts' },
    '/assets': {
      'a search': '/assets?q=kerb+test',
      'no match': '/assets?q=no+such+thing',
      'an invalid cursor': '/assets?after=nonsense',
    },
    '/assets/:symbol': {
      one: '/assets/KRBA?range=7d',
      'without a loaded history': '/assets/KRBB',
      unknown: '/assets/NOSUCHNAME',
      ambiguous: '/assets/KRBC',
      'an unknown range': '/assets/KRBA?range=2y',
    },
    '/assets/:symbol/facts': { one: '/assets/KRBA/facts', unknown: '/assets/NOSUCHNAME/facts' },
    '/audit': {
      'the last days': '/audit',
      'a day of a product': '/audit?product=TWO-USD&day=2021-01-04',
      'an invalid day': '/audit?day=never',
    },
    '/docs': { 'the documentation': '/docs' },
  }
  for (const [route, addresses] of Object.entries(pages))
    for (const [asked, path] of Object.entries(addresses)) await note(`GET ${route}`, asked, ask(path, html))
}

/** The pages of accounts, and those of a signed-in user. */
export async function accountPages({ note }: Answers): Promise<void> {
  const who = person(here)
  const email = 'grace@example.com'
  const get = (route: string, asked: string, path = route) => note(`GET ${route}`, asked, who.ask(path, html))
  const send = (route: string, asked: string, fields: Record<string, string>, path = route, headers = {}) =>
    note(`POST ${route}`, asked, who.form(path, fields, { accept: 'text/html', ...headers }))

  await get('/user', 'without a session')
  await get('/sign-up', 'the form')
  const signUp = { email, password: PASSWORD, name: 'Grace Hopper', next: '/user/stocks' }
  await send('/sign-up', 'invalid input', { ...signUp, email: 'nobody', password: 'short' })
  await send('/sign-up', 'from another origin', signUp, '/sign-up', OTHER_ORIGIN)
  await send('/sign-up', 'a new person', signUp)
  await get('/confirm-email', 'no token')
  await get('/confirm-email', 'a token', '/confirm-email?token=abc')
  await send('/confirm-email', 'an invalid token', { token: 'abc' })
  await send('/confirm-email', 'a valid token', { token: await confirmToken(email) })
  await get('/sign-in', 'the form', '/sign-in?next=/user/stocks')
  await get('/sign-in', 'after a confirmation mail', '/sign-in?done=mailed')
  await send('/sign-in', 'a wrong password', { email, password: 'a wrong password' })
  await send('/sign-in', 'from another origin', { email, password: PASSWORD }, '/sign-in', OTHER_ORIGIN)
  await get('/forgot-password', 'the form')
  await send('/forgot-password', 'an email', { email })
  await send('/forgot-password', 'invalid input', { email: 'x' })
  const { text } = await waitForMail(email, 'Set a new password for Kerb')
  const token = /token=(\S+)/.exec(text)?.[1] as string
  await get('/reset-password', 'no token')
  await get('/reset-password', 'a token', '/reset-password?token=abc')
  await send('/reset-password', 'invalid input', { token, password: 'short' })
  await send('/reset-password', 'an invalid token', { token: 'abc', password: PASSWORD })
  await send('/reset-password', 'a valid token', { token, password: PASSWORD })
  await send('/sign-in', 'email and password', { email, password: PASSWORD, next: '/user/stocks' })
  await get('/sign-in', 'signed in')

  await get('/user', 'no holdings', '/user?range=7d')
  await get('/user', 'an unknown range', '/user?range=2y')
  await get('/user/profile', 'the forms')
  await send('/user/profile', 'invalid input', { name: '', currency: 'XXY', refresh_interval_seconds: 'x' })
  await send('/user/profile', 'a change', { name: 'Grace', currency: 'USD', refresh_interval_seconds: '30' })
  await get('/user/profile', 'after a change', '/user/profile?saved=profile')
  await send('/user/profile', 'from another origin', { name: 'x' }, '/user/profile', OTHER_ORIGIN)
  const passwords = { current_password: 'a wrong password', password: 'another long password' }
  await send('/user/password', 'a wrong password', passwords)
  await send('/user/password', 'the current password', { ...passwords, current_password: PASSWORD })

  await get('/user/stocks', 'no holdings')
  const purchase = {
    symbol: 'KRBA',
    quantity: '3',
    price: '90.50',
    fees: '1',
    currency: 'USD',
    traded_at: '2020-03-02',
  }
  const keyed = { ...purchase, note: 'first', key: 'a-key-of-the-form' }
  await send('/user/stocks', 'invalid input', { ...keyed, symbol: 'NOSUCHNAME', quantity: 'x' })
  await send('/user/stocks', 'an ambiguous symbol', { ...keyed, symbol: 'KRBC' })
  await send('/user/stocks', 'a purchase', keyed)
  await send('/user/stocks', 'another request with the same idempotency key', { ...keyed, quantity: '4' })
  await get('/user/stocks', 'a lot', '/user/stocks?done=added')
  const listed = (await (await who.ask('/api/v1/stocks')).json()) as { stocks: { id: string }[] }
  const lot = listed.stocks[0]?.id as string
  await get('/user/stocks/:id/sell', 'the form', `/user/stocks/${lot}/sell`)
  await get('/user/stocks/:id/sell', 'an unknown lot', '/user/stocks/00000000-0000-4000-8000-000000000000/sell')
  const sale = { quantity: '1', price: '120', currency: 'USD', traded_at: '2020-03-05', take: 'lot' }
  const selling = (asked: string, fields: Record<string, string>) =>
    send('/user/stocks/:id/sell', asked, fields, `/user/stocks/${lot}/sell`)
  await selling('invalid input', { ...sale, quantity: 'x' })
  await selling('more than the holding', { ...sale, quantity: '99' })
  const preview = await (await selling('a preview', sale)).text()
  const previewed = /name="previewed" value="([^"]*)"/.exec(preview)?.[1]?.replaceAll('&quot;', '"') ?? ''
  await selling('a sale', { ...sale, step: 'sell', previewed, key: 'another-key' })

  await get('/user/activities', 'two', '/user/activities?done=sold')
  await send('/user/activities', 'invalid input', { kind: 'gift', symbol: '', quantity: '1' })
  await send('/user/activities', 'a fee', { kind: 'fee', price: '2.5', currency: 'USD', traded_at: '2020-03-06' })
  const all = (await (await who.ask('/api/v1/activities')).json()) as { activities: { id: string; version: number }[] }
  const { id, version } = all.activities[0] as { id: string; version: number }
  const one = `/user/activities/${id}`
  const activity = '/user/activities/:id'
  await get(activity, 'the form', `${one}?back=stocks`)
  await get(activity, 'unknown', '/user/activities/00000000-0000-4000-8000-000000000000')
  await send(activity, 'invalid input', { version: `${version}`, price: 'x' }, one)
  await send(activity, 'an outdated version', { version: '9', price: '3' }, one)
  await send(activity, 'a change', { version: `${version}`, price: '3', back: 'stocks' }, one)
  await get(`${activity}/delete`, 'the form', `${one}/delete`)
  await send(`${activity}/delete`, 'an outdated version', { version: '9' }, `${one}/delete`)
  await send(`${activity}/delete`, 'the activity', { version: `${version + 1}` }, `${one}/delete`)
  await get('/user', 'one holding', '/user?range=7d')

  await get('/user/import', 'the form')
  const table = (kind: string) => `date,symbol,type,quantity,price,currency\n2020-03-06,KRBB,${kind},1,100,USD\n`
  const upload = (asked: string, fields: Record<string, string | File>) => {
    const form = new FormData()
    for (const [name, value] of Object.entries(fields)) form.set(name, value)
    return note('POST /user/import', asked, who.ask('/user/import', { method: 'POST', body: form }))
  }
  const file = (kind: string) => new File([table(kind)], 'activities.csv', { type: 'text/csv' })
  await upload('no file', { step: 'preview' })
  await upload('a file', { file: file('buy'), step: 'preview' })
  await upload('a file with an invalid row', { file: file('gift'), step: 'preview' })
  const content = { name: 'activities.csv', step: 'import', key: 'a-key-of-the-import' }
  await upload('an import with an invalid row', { ...content, content: btoa(table('gift')) })
  await upload('an import', { ...content, content: btoa(table('buy')) })
  await send('/sign-out', 'from another origin', {}, '/sign-out', OTHER_ORIGIN)
  await send('/sign-out', 'signed in', {})
  for (const path of ['/user', '/user/stocks', '/user/activities', '/user/import', '/user/profile'])
    await get(path, 'signed out')
  for (const path of ['/user/stocks', '/user/activities', '/user/password']) await send(path, 'signed out', {})
}
