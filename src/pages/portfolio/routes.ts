import { type Context, Hono } from 'hono'
import { findProfile } from '../../api/accounts/profile.ts'
import { type AppEnv, userRequest } from '../../api/http/context.ts'
import { runOnce } from '../../api/http/idempotency.ts'
import {
  addActivity,
  changeActivity,
  deleteActivity,
  listActivities,
  readActivity,
} from '../../api/portfolio/activities.ts'
import { addLot, previewSale, readLot, sell } from '../../api/portfolio/lots.ts'
import type { ActivityView } from '../../protocol/activity.ts'
import { requireSignIn } from '../account/require-sign-in.ts'
import { EMPTY_FORM, type FormState } from '../site/form.ts'
import { handleForm } from '../site/handle-form.ts'
import { errorPage, NO_STORE, parseRange, securityHeaders, siteInfo } from '../site/routes.ts'
import { activitiesPage, activityPage, type BackTarget, deletePage, formValues } from './activities.ts'
import { parseTimeInput, previewKey, sellPage } from './lot-forms.ts'
import { lotsPage } from './lots.ts'
import { userPage } from './overview.ts'
import { readLotsPage, readOverview, readPortfolioHistory } from './read-portfolio.ts'

/** Activities of one page. */
const PAGE_SIZE = 50

const DONE_NOTES: Partial<Record<string, string>> = {
  added: 'Added.',
  saved: 'Saved.',
  deleted: 'Deleted.',
  sold: 'Sold.',
  imported: 'Imported.',
}
const doneNote = (c: Context<AppEnv>): string | null => DONE_NOTES[c.req.query('done') ?? ''] ?? null

type FormFields = Record<string, string>

/** Fields of a form as the schemas of REST take them: what is empty was not given. */
function pickFilled(fields: FormFields, names: readonly string[]): Record<string, unknown> {
  const typed = names.map((name) => [name, (fields[name] ?? '').trim()] as const).filter(([, text]) => text !== '')
  return Object.fromEntries(typed.map(([name, text]) => [name, name === 'traded_at' ? parseTimeInput(text) : text]))
}

const AMOUNT_FIELDS = ['quantity', 'price', 'fees', 'currency'] as const
const OTHER_FIELDS = ['traded_at', 'note'] as const

const readSplit = (fields: FormFields) => ({
  split: {
    numerator: (fields.split_numerator ?? '').trim(),
    denominator: (fields.split_denominator ?? '').trim(),
  },
})

/** An activity of a form; a split's amounts and another's ratio are not looked at. */
const readActivityForm = (fields: FormFields): Record<string, unknown> =>
  fields.kind === 'split'
    ? { ...pickFilled(fields, ['kind', 'symbol', ...OTHER_FIELDS]), ...readSplit(fields) }
    : pickFilled(fields, ['kind', 'symbol', ...AMOUNT_FIELDS, ...OTHER_FIELDS])

/** What of an activity was changed in its form. What was emptied is nothing, where that can be. */
function readActivityChange(activity: ActivityView, fields: FormFields): Record<string, unknown> {
  const before = formValues(activity)
  const differs = (name: string): boolean => fields[name] !== undefined && fields[name].trim() !== before[name]
  const names = ['symbol', ...(activity.kind === 'split' ? [] : AMOUNT_FIELDS), ...OTHER_FIELDS].filter(differs)
  const change: Record<string, unknown> = Object.fromEntries(names.map((name) => [name, fields[name]?.trim()]))
  if (typeof change.traded_at === 'string') change.traded_at = parseTimeInput(change.traded_at)
  if (change.note === '') change.note = null
  if (change.fees === '') change.fees = '0'
  if (differs('split_numerator') || differs('split_denominator')) Object.assign(change, readSplit(fields))
  return change
}

/** What a sale's form asks for: of this lot alone, or the oldest first. */
const readSaleForm = (lotId: string, fields: FormFields): Record<string, unknown> => ({
  ...pickFilled(fields, [...AMOUNT_FIELDS, ...OTHER_FIELDS]),
  ...(fields.take === 'lot' && { lots: [{ lot_id: lotId, quantity: (fields.quantity ?? '').trim() }] }),
})

const parseBackTarget = (text: string | undefined): BackTarget => (text === 'stocks' ? 'stocks' : 'activities')
const ifMatch = ({ version }: FormFields): string => `"v${version}"`

async function renderLots(c: Context<AppEnv>, form: FormState) {
  const [symbol, after] = [(c.req.query('symbol') ?? '').trim(), c.req.query('after') ?? null]
  const read = await readLotsPage(userRequest(c), symbol, after)
  return lotsPage(siteInfo(c.env), {
    ...read,
    first: after === null,
    symbol,
    form,
    key: crypto.randomUUID(),
    saved: doneNote(c),
  })
}

async function renderActivities(c: Context<AppEnv>, form: FormState) {
  const after = c.req.query('after') ?? null
  const query = new URLSearchParams({ limit: String(PAGE_SIZE), ...(after !== null && { cursor: after }) })
  const { activities, next_cursor: next } = await listActivities(userRequest(c), query)
  const [first, key, now] = [after === null, crypto.randomUUID(), Date.now()]
  return activitiesPage(siteInfo(c.env), { activities, next, first, form, key, saved: doneNote(c), now })
}

/** The pages of what somebody owns: the same functions behind them as behind the routes of REST. */
export const userPages = new Hono<AppEnv>()
  .get('/user', securityHeaders, requireSignIn, async (c) => {
    const range = parseRange(c.req.query('range'))
    const request = userRequest(c)
    const overview = await readOverview(request)
    const [profile, history] = await Promise.all([findProfile(request), readPortfolioHistory(request, range)])
    return c.html(userPage(siteInfo(c.env), { profile, ...overview, range, history }), 200, NO_STORE)
  })
  .get('/user/stocks', securityHeaders, requireSignIn, async (c) =>
    c.html(await renderLots(c, EMPTY_FORM), 200, NO_STORE),
  )
  .post('/user/stocks', securityHeaders, requireSignIn, (c) =>
    handleForm(
      c,
      async (fields) => {
        const purchase = pickFilled(fields, ['symbol', ...AMOUNT_FIELDS, ...OTHER_FIELDS])
        await runOnce(c, purchase, (request) => addLot(request, purchase), fields.key ?? null)
        return c.redirect('/user/stocks?done=added', 303)
      },
      (form) => renderLots(c, form),
    ),
  )
  .get('/user/stocks/:id/sell', securityHeaders, requireSignIn, async (c) => {
    const lot = await readLot(userRequest(c), c.req.param('id'))
    const form = { ...EMPTY_FORM, values: { quantity: lot.quantity, currency: lot.currency } }
    return c.html(sellPage(siteInfo(c.env), { lot, form, preview: null, key: crypto.randomUUID() }), 200, NO_STORE)
  })
  .post('/user/stocks/:id/sell', securityHeaders, requireSignIn, (c) => {
    const id = c.req.param('id')
    return handleForm(
      c,
      async (fields) => {
        const sale = readSaleForm(id, fields)
        if (fields.step === 'sell' && fields.previewed === previewKey(fields)) {
          await runOnce(c, sale, () => sell(id, sale), fields.key ?? null)
          return c.redirect('/user/stocks?done=sold', 303)
        }
        const preview = await previewSale(userRequest(c), id, sale)
        const lot = await readLot(userRequest(c), id)
        const form = { ...EMPTY_FORM, values: fields }
        return c.html(sellPage(siteInfo(c.env), { lot, form, preview, key: crypto.randomUUID() }), 200, NO_STORE)
      },
      async (form) => {
        const lot = await readLot(userRequest(c), id)
        return sellPage(siteInfo(c.env), { lot, form, preview: null, key: crypto.randomUUID() })
      },
    )
  })
  .get('/user/activities', securityHeaders, requireSignIn, async (c) =>
    c.html(await renderActivities(c, EMPTY_FORM), 200, NO_STORE),
  )
  .post('/user/activities', securityHeaders, requireSignIn, (c) =>
    handleForm(
      c,
      async (fields) => {
        const activity = readActivityForm(fields)
        await runOnce(c, activity, (request) => addActivity(request, activity), fields.key ?? null)
        return c.redirect('/user/activities?done=added', 303)
      },
      (form) => renderActivities(c, form),
    ),
  )
  .get('/user/activities/:id', securityHeaders, requireSignIn, async (c) => {
    const activity = await readActivity(userRequest(c), c.req.param('id'))
    const form = { ...EMPTY_FORM, values: formValues(activity) }
    return c.html(activityPage(siteInfo(c.env), activity, form, parseBackTarget(c.req.query('back'))), 200, NO_STORE)
  })
  .post('/user/activities/:id', securityHeaders, requireSignIn, (c) => {
    const id = c.req.param('id')
    return handleForm(
      c,
      async (fields) => {
        const change = readActivityChange(await readActivity(userRequest(c), id), fields)
        await runOnce(c, change, (request) => changeActivity(request, id, change, ifMatch(fields)), null)
        return c.redirect(`/user/${parseBackTarget(fields.back)}?done=saved`, 303)
      },
      async (form, { back }) =>
        activityPage(siteInfo(c.env), await readActivity(userRequest(c), id), form, parseBackTarget(back)),
    )
  })
  .get('/user/activities/:id/delete', securityHeaders, requireSignIn, async (c) => {
    const activity = await readActivity(userRequest(c), c.req.param('id'))
    return c.html(
      deletePage(siteInfo(c.env), activity, EMPTY_FORM, parseBackTarget(c.req.query('back'))),
      200,
      NO_STORE,
    )
  })
  .post('/user/activities/:id/delete', securityHeaders, requireSignIn, (c) => {
    const id = c.req.param('id')
    return handleForm(
      c,
      async (fields) => {
        await runOnce(c, null, () => deleteActivity(id, ifMatch(fields)), null)
        return c.redirect(`/user/${parseBackTarget(fields.back)}?done=deleted`, 303)
      },
      async (form, { back }) =>
        deletePage(siteInfo(c.env), await readActivity(userRequest(c), id), form, parseBackTarget(back)),
    )
  })

userPages.onError((error, c) => errorPage(c, error))
