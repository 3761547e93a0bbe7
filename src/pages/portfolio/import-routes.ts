import { type Context, Hono } from 'hono'
import { bytesOf } from '../../api/http/body.ts'
import type { AppEnv } from '../../api/http/context.ts'
import { performOnce } from '../../api/http/idempotency.ts'
import { wrong } from '../../api/http/input.ts'
import { type ImportQuery, importing, previewImport, textOf } from '../../api/portfolio/import/import.ts'
import { settings } from '../../config.ts'
import { CodedError, ERROR_CODES } from '../../protocol/errors.ts'
import { signedIn } from '../account/signed-in.ts'
import { EMPTY_FORM, type FormState } from '../site/form.ts'
import { errorPage, fresh, headers, site } from '../site/routes.ts'
import { formOf } from '../site/submit.ts'
import { importPage, type LookedAt } from './import.ts'

/** What the form has beside the file, bytes. */
const FIELDS = 10_000

/** A form of this page: a file, or the content of one that was looked at before. */
type Sent = { name: string; bytes: Uint8Array; own: boolean; key: string; step: string }

const toBase64 = (bytes: Uint8Array): string => {
  const parts: string[] = []
  // As many arguments at once as a call surely takes.
  for (let at = 0; at < bytes.length; at += 8_192) parts.push(String.fromCharCode(...bytes.subarray(at, at + 8_192)))
  return btoa(parts.join(''))
}

const ofBase64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0))

const wrongFile = (message: string): CodedError => wrong('file', message)

/** @throws CodedError `message_too_large`, `invalid_request` */
async function sentOf(c: Context<AppEnv>): Promise<Sent> {
  const most = settings(c.env).IMPORT_BYTES
  // In base64 four signs stand for three bytes.
  const body = await bytesOf(c.req.raw, Math.ceil((most * 4) / 3) + FIELDS)
  const type = c.req.header('content-type') ?? ''
  const form = await new Response(body, { headers: { 'content-type': type } }).formData().catch(() => {
    throw wrongFile('is missing')
  })
  const text = (name: string): string => {
    const value = form.get(name)
    return typeof value === 'string' ? value : ''
  }
  const file = form.get('file')
  const given = file === null || typeof file === 'string' ? null : (file as File)
  const bytes = given ? new Uint8Array(await given.arrayBuffer()) : contentOf(text('content'))
  if (bytes.length === 0) throw wrongFile(given?.name ? 'is empty' : 'is missing')
  if (bytes.length > most) throw new CodedError('message_too_large', `a file has ${most} bytes at most`)
  const name = (given?.name ?? text('name')).slice(0, 200)
  return { name, bytes, own: text('unknown') === 'own', key: text('key'), step: text('step') }
}

function contentOf(text: string): Uint8Array {
  try {
    return ofBase64(text)
  } catch {
    throw wrongFile('is missing')
  }
}

const queryOf = ({ own }: Sent): ImportQuery => ({ dry_run: false, unknown: own ? 'own' : 'refuse' })

async function lookedAt(c: Context<AppEnv>, sent: Sent): Promise<LookedAt> {
  const { name, bytes, own } = sent
  const answer = await previewImport(c, textOf(bytes), queryOf(sent))
  return { name, content: toBase64(bytes), own, answer }
}

const show = (c: Context<AppEnv>, form: FormState, file: LookedAt | null) =>
  importPage(site(c.env), { form, file, key: crypto.randomUUID() })

/** The form with what is wrong; what is no fault of the file is thrown on. */
function faultOf(error: unknown): { form: FormState; status: 400 | 409 | 413 | 429 | 503 } {
  if (!(error instanceof CodedError)) throw error
  const form = formOf(error, { file: '' })
  if (form === null) throw error
  return { form, status: ERROR_CODES[error.code].status as 400 | 409 | 413 | 429 | 503 }
}

/** Imports what was looked at before, and says what came of it; what cannot be imported any more is shown anew. */
async function imported(c: Context<AppEnv>, sent: Sent): Promise<Response> {
  const text = textOf(sent.bytes)
  const fields = [text, sent.own]
  try {
    await performOnce(c, { key: sent.key || null, fields }, () => importing(c, text, queryOf(sent)))
    return c.redirect('/user/activities?done=imported', 303)
  } catch (error) {
    const { form, status } = faultOf(error)
    // Rows that are wrong are told by another look at the file.
    return c.html(show(c, { ...form, errors: [] }, await lookedAt(c, sent)), status, fresh)
  }
}

/** The page of import and export: a file is looked at first, and imported with the button that comes with that. */
export const importPages = new Hono<AppEnv>()
  .get('/user/import', headers, signedIn, (c) => c.html(show(c, EMPTY_FORM, null), 200, fresh))
  .post('/user/import', headers, signedIn, async (c) => {
    try {
      const sent = await sentOf(c)
      if (sent.step === 'import') return await imported(c, sent)
      return c.html(show(c, EMPTY_FORM, await lookedAt(c, sent)), 200, fresh)
    } catch (error) {
      const { form, status } = faultOf(error)
      return c.html(show(c, form, null), status, fresh)
    }
  })

importPages.onError((error, c) => errorPage(c, error))
