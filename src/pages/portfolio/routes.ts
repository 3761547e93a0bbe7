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
import { EMPTY_FORM, type FormFields, type FormState } from '../site/form.ts'
import { handleForm } from '../site/handle-form.ts'
import type { Page } from '../site/layout.ts'
import { parseRange } from '../site/ranges.ts'
import { errorPage, renderPage, securityHeaders } from '../site/respond.ts'
import { activitiesPage, activityPage, type BackTarget, deletePage, formValues } from './activities.ts'
import { parseTimeInput, previewKey, sellPage } from './lot-forms.ts'
import { lotsPage } from './lots.ts'
import { userPage } from './overview.ts'
import { readLotsPage, readOverview, readPortfolioHistory } from './read-portfolio.ts'

/** Activities on one page. */
const PAGE_SIZE = 50

/** Messages after a success, by the `done` of the address. */
const DONE_NOTES: Partial<Record<string, string>> = {
  added: 'Added.',
  saved: 'Saved.',
  deleted: 'Deleted.',
  sold: 'Sold.',
  imported: 'Imported.',
}

/** These fields of a form for the schemas of the REST API: without empty ones. */
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

/** The activity of a form. A split has no amounts, and only a split has a ratio. */
const readActivityForm = (fields: FormFields): Record<string, unknown> =>
  fields.kind === 'split'
    ? { ...pickFilled(fields, ['kind', 'symbol', ...OTHER_FIELDS]), ...readSplit(fields) }
    : pickFilled(fields, ['kind', 'symbol', ...AMOUNT_FIELDS, ...OTHER_FIELDS])

/** The fields of an activity that its form changes. An empty note or fee removes it. */
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

/** The sale of a form: from this lot only, or from the oldest lots. */
const readSaleForm = (lotId: string, fields: FormFields): Record<string, unknown> => ({
  ...pickFilled(fields, [...AMOUNT_FIELDS, ...OTHER_FIELDS]),
  ...(fields.take === 'lot' && { lots: [{ lot_id: lotId, quantity: (fields.quantity ?? '').trim() }] }),
})

const parseBackTarget = (text: string | undefined): BackTarget => (text === 'stocks' ? 'stocks' : 'activities')
const ifMatch = ({ version }: FormFields): string => `"v${version}"`

async function lotsOf(c: Context<AppEnv>, form: FormState): Promise<Page> {
  const { symbol = '', after = null, done = '' } = c.req.query() as Partial<Record<string, string>>
  const lots = await readLotsPage(userRequest(c), symbol.trim(), after)
  return lotsPage({ ...lots, first: after === null, symbol: symbol.trim(), form, saved: DONE_NOTES[done] })
}

async function activitiesOf(c: Context<AppEnv>, form: FormState): Promise<Page> {
  const { after = null, done = '' } = c.req.query() as Partial<Record<string, string>>
  const query = new URLSearchParams({ limit: String(PAGE_SIZE), ...(after !== null && { cursor: after }) })
  const { activities, next_cursor: next } = await listActivities(userRequest(c), query)
  return activitiesPage({ activities, next, first: after === null, form, saved: DONE_NOTES[done], now: Date.now() })
}

type ActivityPage = (activity: ActivityView, form: FormState, back: BackTarget) => Page

const activityOf = async (
  c: Context<AppEnv, '/user/activities/:id'>,
  page: ActivityPage,
  form: FormState | null,
  back?: string,
) => {
  const activity = await readActivity(userRequest(c), c.req.param('id'))
  return page(activity, form ?? { ...EMPTY_FORM, values: formValues(activity) }, parseBackTarget(back))
}

/** The pages of a user's portfolio. They run the same commands as the REST API. */
export const userPages = new Hono<AppEnv>()
  .get('/user', securityHeaders, requireSignIn, async (c) => {
    const range = parseRange(c.req.query('range'))
    const request = userRequest(c)
    const overview = await readOverview(request)
    const [profile, history] = await Promise.all([findProfile(request), readPortfolioHistory(request, range)])
    return renderPage(c, userPage({ profile, ...overview, range, history }))
  })
  .get('/user/stocks', securityHeaders, requireSignIn, async (c) => renderPage(c, await lotsOf(c, EMPTY_FORM)))
  .post('/user/stocks', securityHeaders, requireSignIn, (c) =>
    handleForm(
      c,
      (form) => lotsOf(c, form),
      async (fields) => {
        const purchase = pickFilled(fields, ['symbol', ...AMOUNT_FIELDS, ...OTHER_FIELDS])
        await runOnce(c, purchase, (request) => addLot(request, purchase), fields.key ?? null)
        return c.redirect('/user/stocks?done=added', 303)
      },
    ),
  )
  .get('/user/stocks/:id/sell', securityHeaders, requireSignIn, async (c) => {
    const lot = await readLot(userRequest(c), c.req.param('id'))
    const form = { ...EMPTY_FORM, values: { quantity: lot.quantity, currency: lot.currency } }
    return renderPage(c, sellPage(lot, form, null))
  })
  .post('/user/stocks/:id/sell', securityHeaders, requireSignIn, (c) => {
    const id = c.req.param('id')
    return handleForm(
      c,
      async (form) => sellPage(await readLot(userRequest(c), id), form, null),
      async (fields) => {
        const sale = readSaleForm(id, fields)
        if (fields.step === 'sell' && fields.previewed === previewKey(fields)) {
          await runOnce(c, sale, () => sell(id, sale), fields.key ?? null)
          return c.redirect('/user/stocks?done=sold', 303)
        }
        const preview = await previewSale(userRequest(c), id, sale)
        const lot = await readLot(userRequest(c), id)
        return renderPage(c, sellPage(lot, { ...EMPTY_FORM, values: fields }, preview))
      },
    )
  })
  .get('/user/activities', securityHeaders, requireSignIn, async (c) =>
    renderPage(c, await activitiesOf(c, EMPTY_FORM)),
  )
  .post('/user/activities', securityHeaders, requireSignIn, (c) =>
    handleForm(
      c,
      (form) => activitiesOf(c, form),
      async (fields) => {
        const activity = readActivityForm(fields)
        await runOnce(c, activity, (request) => addActivity(request, activity), fields.key ?? null)
        return c.redirect('/user/activities?done=added', 303)
      },
    ),
  )
  .get('/user/activities/:id', securityHeaders, requireSignIn, async (c) =>
    renderPage(c, await activityOf(c, activityPage, null, c.req.query('back'))),
  )
  .post('/user/activities/:id', securityHeaders, requireSignIn, (c) =>
    handleForm(
      c,
      (form, { back }) => activityOf(c, activityPage, form, back),
      async (fields) => {
        const id = c.req.param('id')
        const change = readActivityChange(await readActivity(userRequest(c), id), fields)
        await runOnce(c, change, (request) => changeActivity(request, id, change, ifMatch(fields)), null)
        return c.redirect(`/user/${parseBackTarget(fields.back)}?done=saved`, 303)
      },
    ),
  )
  .get('/user/activities/:id/delete', securityHeaders, requireSignIn, async (c) =>
    renderPage(c, await activityOf(c, deletePage, null, c.req.query('back'))),
  )
  .post('/user/activities/:id/delete', securityHeaders, requireSignIn, (c) =>
    handleForm(
      c,
      (form, { back }) => activityOf(c, deletePage, form, back),
      async (fields) => {
        const id = c.req.param('id')
        await runOnce(c, null, () => deleteActivity(id, ifMatch(fields)), null)
        return c.redirect(`/user/${parseBackTarget(fields.back)}?done=deleted`, 303)
      },
    ),
  )

userPages.onError(errorPage)
