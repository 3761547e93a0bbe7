import { type Context, Hono } from 'hono'
import { findProfile } from '../../api/accounts/profile.ts'
import type { AppEnv } from '../../api/http/context.ts'
import { perform, performOnce } from '../../api/http/idempotency.ts'
import {
  addingActivity,
  changingActivity,
  listActivities,
  readActivity,
  removing,
} from '../../api/portfolio/activities.ts'
import { addingStock, previewSale, readStock, selling } from '../../api/portfolio/lots.ts'
import type { ActivityView } from '../../protocol/activity.ts'
import { signedIn } from '../account/signed-in.ts'
import { EMPTY_FORM, type FormState } from '../site/form.ts'
import { errorPage, fresh, headers, rangeOf, site } from '../site/routes.ts'
import { submit } from '../site/submit.ts'
import { activitiesPage, activityPage, type Back, deletePage, valuesOf } from './activities.ts'
import { previewedText, sellPage, timeOfField } from './lot-forms.ts'
import { stocksPage } from './lots.ts'
import { userPage } from './overview.ts'
import { readLotsPage, readOverview, readValues } from './read-portfolio.ts'

/** Activities of one page. */
const PAGE = 50

const DONE: Partial<Record<string, string>> = {
  added: 'Added.',
  saved: 'Saved.',
  deleted: 'Deleted.',
  sold: 'Sold.',
  imported: 'Imported.',
}
const doneOf = (c: Context<AppEnv>): string | null => DONE[c.req.query('done') ?? ''] ?? null

type Fields = Record<string, string>

/** Fields of a form as the schemas of REST take them: what is empty was not given. */
function given(fields: Fields, names: readonly string[]): Record<string, unknown> {
  const typed = names.map((name) => [name, (fields[name] ?? '').trim()] as const).filter(([, text]) => text !== '')
  return Object.fromEntries(typed.map(([name, text]) => [name, name === 'traded_at' ? timeOfField(text) : text]))
}

const AMOUNTS = ['quantity', 'price', 'fees', 'currency'] as const
const REST = ['traded_at', 'note'] as const

const splitOf = (fields: Fields) => ({
  split: {
    numerator: (fields.split_numerator ?? '').trim(),
    denominator: (fields.split_denominator ?? '').trim(),
  },
})

/** An activity of a form; a split's amounts and another's ratio are not looked at. */
const activityOf = (fields: Fields): Record<string, unknown> =>
  fields.kind === 'split'
    ? { ...given(fields, ['kind', 'symbol', ...REST]), ...splitOf(fields) }
    : given(fields, ['kind', 'symbol', ...AMOUNTS, ...REST])

/** What of an activity was changed in its form. What was emptied is nothing, where that can be. */
function changeOf(activity: ActivityView, fields: Fields): Record<string, unknown> {
  const before = valuesOf(activity)
  const differs = (name: string): boolean => fields[name] !== undefined && fields[name].trim() !== before[name]
  const names = ['symbol', ...(activity.kind === 'split' ? [] : AMOUNTS), ...REST].filter(differs)
  const change: Record<string, unknown> = Object.fromEntries(names.map((name) => [name, fields[name]?.trim()]))
  if (typeof change.traded_at === 'string') change.traded_at = timeOfField(change.traded_at)
  if (change.note === '') change.note = null
  if (change.fees === '') change.fees = '0'
  if (differs('split_numerator') || differs('split_denominator')) Object.assign(change, splitOf(fields))
  return change
}

/** What a sale's form asks for: of this lot alone, or the oldest first. */
const saleOf = (lotId: string, fields: Fields): Record<string, unknown> => ({
  ...given(fields, [...AMOUNTS, ...REST]),
  ...(fields.take === 'lot' && { lots: [{ lot_id: lotId, quantity: (fields.quantity ?? '').trim() }] }),
})

const backOf = (text: string | undefined): Back => (text === 'stocks' ? 'stocks' : 'activities')
const ifMatch = ({ version }: Fields): string => `"v${version}"`

async function showStocks(c: Context<AppEnv>, form: FormState) {
  const [symbol, after] = [(c.req.query('symbol') ?? '').trim(), c.req.query('after') ?? null]
  const read = await readLotsPage(c, symbol, after)
  return stocksPage(site(c.env), {
    ...read,
    first: after === null,
    symbol,
    form,
    key: crypto.randomUUID(),
    saved: doneOf(c),
  })
}

async function showActivities(c: Context<AppEnv>, form: FormState) {
  const after = c.req.query('after') ?? null
  const query = new URLSearchParams({ limit: String(PAGE), ...(after !== null && { cursor: after }) })
  const { activities, next_cursor: next } = await listActivities(c, query)
  const [first, key, now] = [after === null, crypto.randomUUID(), Date.now()]
  return activitiesPage(site(c.env), { activities, next, first, form, key, saved: doneOf(c), now })
}

/** The pages of what somebody owns: the same functions behind them as behind the routes of REST. */
export const userPages = new Hono<AppEnv>()
  .get('/user', headers, signedIn, async (c) => {
    const range = rangeOf(c.req.query('range'))
    const [profile, overview, history] = await Promise.all([
      findProfile(c.env, c.var.user),
      readOverview(c),
      readValues(c, range),
    ])
    return c.html(userPage(site(c.env), { profile, ...overview, range, history }), 200, fresh)
  })
  .get('/user/stocks', headers, signedIn, async (c) => c.html(await showStocks(c, EMPTY_FORM), 200, fresh))
  .post('/user/stocks', headers, signedIn, (c) =>
    submit(
      c,
      async (fields) => {
        const purchase = given(fields, ['symbol', ...AMOUNTS, ...REST])
        await performOnce(c, { key: fields.key ?? null, fields: purchase }, () => addingStock(c, purchase))
        return c.redirect('/user/stocks?done=added', 303)
      },
      (form) => showStocks(c, form),
    ),
  )
  .get('/user/stocks/:id/sell', headers, signedIn, async (c) => {
    const lot = await readStock(c, c.req.param('id'))
    const form = { ...EMPTY_FORM, values: { quantity: lot.quantity, currency: lot.currency } }
    return c.html(sellPage(site(c.env), { lot, form, preview: null, key: crypto.randomUUID() }), 200, fresh)
  })
  .post('/user/stocks/:id/sell', headers, signedIn, (c) => {
    const id = c.req.param('id')
    return submit(
      c,
      async (fields) => {
        const sale = saleOf(id, fields)
        if (fields.step === 'sell' && fields.previewed === previewedText(fields)) {
          await performOnce(c, { key: fields.key ?? null, fields: sale }, async () => selling(c, id, sale))
          return c.redirect('/user/stocks?done=sold', 303)
        }
        const preview = await previewSale(c, id, sale)
        const lot = await readStock(c, id)
        const form = { ...EMPTY_FORM, values: fields }
        return c.html(sellPage(site(c.env), { lot, form, preview, key: crypto.randomUUID() }), 200, fresh)
      },
      async (form) => {
        const lot = await readStock(c, id)
        return sellPage(site(c.env), { lot, form, preview: null, key: crypto.randomUUID() })
      },
    )
  })
  .get('/user/activities', headers, signedIn, async (c) => c.html(await showActivities(c, EMPTY_FORM), 200, fresh))
  .post('/user/activities', headers, signedIn, (c) =>
    submit(
      c,
      async (fields) => {
        const activity = activityOf(fields)
        await performOnce(c, { key: fields.key ?? null, fields: activity }, () => addingActivity(c, activity))
        return c.redirect('/user/activities?done=added', 303)
      },
      (form) => showActivities(c, form),
    ),
  )
  .get('/user/activities/:id', headers, signedIn, async (c) => {
    const activity = await readActivity(c, c.req.param('id'))
    const form = { ...EMPTY_FORM, values: valuesOf(activity) }
    return c.html(activityPage(site(c.env), activity, form, backOf(c.req.query('back'))), 200, fresh)
  })
  .post('/user/activities/:id', headers, signedIn, (c) => {
    const id = c.req.param('id')
    return submit(
      c,
      async (fields) => {
        const change = changeOf(await readActivity(c, id), fields)
        await perform(c, await changingActivity(c, id, change, ifMatch(fields)))
        return c.redirect(`/user/${backOf(fields.back)}?done=saved`, 303)
      },
      async (form, { back }) => activityPage(site(c.env), await readActivity(c, id), form, backOf(back)),
    )
  })
  .get('/user/activities/:id/delete', headers, signedIn, async (c) => {
    const activity = await readActivity(c, c.req.param('id'))
    return c.html(deletePage(site(c.env), activity, EMPTY_FORM, backOf(c.req.query('back'))), 200, fresh)
  })
  .post('/user/activities/:id/delete', headers, signedIn, (c) => {
    const id = c.req.param('id')
    return submit(
      c,
      async (fields) => {
        await perform(c, removing(c, id, ifMatch(fields)))
        return c.redirect(`/user/${backOf(fields.back)}?done=deleted`, 303)
      },
      async (form, { back }) => deletePage(site(c.env), await readActivity(c, id), form, backOf(back)),
    )
  })

userPages.onError((error, c) => errorPage(c, error))
