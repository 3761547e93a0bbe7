import { type Context, Hono } from 'hono'
import { readBytes } from '../../api/http/body.ts'
import { type AppEnv, userRequest } from '../../api/http/context.ts'
import { runOnce } from '../../api/http/idempotency.ts'
import { invalidField } from '../../api/http/input.ts'
import { decodeText, type ImportQuery, importFile, previewImport } from '../../api/portfolio/import/import.ts'
import { readSettings } from '../../config.ts'
import { CodedError, ERROR_CODES } from '../../protocol/errors.ts'
import { requireSignIn } from '../account/require-sign-in.ts'
import { EMPTY_FORM, type FormState } from '../site/form.ts'
import { formWithErrors } from '../site/handle-form.ts'
import { errorPage, NO_STORE, securityHeaders, siteInfo } from '../site/routes.ts'
import { importPage, type PreviewedFile } from './import.ts'

/** What the form has beside the file, bytes. */
const FORM_OVERHEAD_BYTES = 10_000

/** A form of this page: a file, or the content of one that was looked at before. */
type ImportForm = { name: string; bytes: Uint8Array; createCustomAssets: boolean; key: string; step: string }

const toBase64 = (bytes: Uint8Array): string => {
  const parts: string[] = []
  // As many arguments at once as a call surely takes.
  for (let at = 0; at < bytes.length; at += 8_192) parts.push(String.fromCharCode(...bytes.subarray(at, at + 8_192)))
  return btoa(parts.join(''))
}

const fromBase64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0))

const invalidFile = (message: string): CodedError => invalidField('file', message)

/** @throws CodedError `message_too_large`, `invalid_request` */
async function readImportForm(c: Context<AppEnv>): Promise<ImportForm> {
  const most = readSettings(c.env).MAX_IMPORT_BYTES
  // In base64 four signs stand for three bytes.
  const body = await readBytes(c.req.raw, Math.ceil((most * 4) / 3) + FORM_OVERHEAD_BYTES)
  const type = c.req.header('content-type') ?? ''
  const form = await new Response(body, { headers: { 'content-type': type } }).formData().catch(() => {
    throw invalidFile('is missing')
  })
  const text = (name: string): string => {
    const value = form.get(name)
    return typeof value === 'string' ? value : ''
  }
  const file = form.get('file')
  const given = file === null || typeof file === 'string' ? null : (file as File)
  const bytes = given ? new Uint8Array(await given.arrayBuffer()) : decodeContent(text('content'))
  if (bytes.length === 0) throw invalidFile(given?.name ? 'is empty' : 'is missing')
  if (bytes.length > most) throw new CodedError('message_too_large', `a file has ${most} bytes at most`)
  const name = (given?.name ?? text('name')).slice(0, 200)
  return { name, bytes, createCustomAssets: text('unknown') === 'own', key: text('key'), step: text('step') }
}

function decodeContent(text: string): Uint8Array {
  try {
    return fromBase64(text)
  } catch {
    throw invalidFile('is missing')
  }
}

const toImportQuery = ({ createCustomAssets: own }: ImportForm): ImportQuery => ({
  dry_run: false,
  unknown: own ? 'own' : 'refuse',
})

async function previewFile(c: Context<AppEnv>, sent: ImportForm): Promise<PreviewedFile> {
  const { name, bytes, createCustomAssets: own } = sent
  const answer = await previewImport(userRequest(c), decodeText(bytes), toImportQuery(sent))
  return { name, content: toBase64(bytes), createCustomAssets: own, answer }
}

const renderImport = (c: Context<AppEnv>, form: FormState, file: PreviewedFile | null) =>
  importPage(siteInfo(c.env), { form, file, key: crypto.randomUUID() })

/** The form with what is wrong; what is no fault of the file is thrown on. */
function toFormError(error: unknown): { form: FormState; status: 400 | 409 | 413 | 429 | 503 } {
  if (!(error instanceof CodedError)) throw error
  const form = formWithErrors(error, { file: '' })
  if (form === null) throw error
  return { form, status: ERROR_CODES[error.code].status as 400 | 409 | 413 | 429 | 503 }
}

/** Imports what was looked at before, and says what came of it; what cannot be imported any more is shown anew. */
async function submitImport(c: Context<AppEnv>, sent: ImportForm): Promise<Response> {
  const text = decodeText(sent.bytes)
  const query = toImportQuery(sent)
  try {
    const fields = [text, sent.createCustomAssets]
    await runOnce(c, fields, (request) => importFile(request, text, query), sent.key || null)
    return c.redirect('/user/activities?done=imported', 303)
  } catch (error) {
    const { form, status } = toFormError(error)
    // Rows that are wrong are told by another look at the file.
    return c.html(renderImport(c, { ...form, errors: [] }, await previewFile(c, sent)), status, NO_STORE)
  }
}

/** The page of import and export: a file is looked at first, and imported with the button that comes with that. */
export const importPages = new Hono<AppEnv>()
  .get('/user/import', securityHeaders, requireSignIn, (c) => c.html(renderImport(c, EMPTY_FORM, null), 200, NO_STORE))
  .post('/user/import', securityHeaders, requireSignIn, async (c) => {
    try {
      const sent = await readImportForm(c)
      if (sent.step === 'import') return await submitImport(c, sent)
      return c.html(renderImport(c, EMPTY_FORM, await previewFile(c, sent)), 200, NO_STORE)
    } catch (error) {
      const { form, status } = toFormError(error)
      return c.html(renderImport(c, form, null), status, NO_STORE)
    }
  })

importPages.onError((error, c) => errorPage(c, error))
