import { Buffer } from 'node:buffer'
import { type Context, Hono } from 'hono'
import { readBytes } from '../../api/http/body.ts'
import { type AppEnv, userRequest } from '../../api/http/context.ts'
import { runOnce } from '../../api/http/idempotency.ts'
import { invalidField } from '../../api/http/input.ts'
import { decodeText, type ImportQuery, importFile, previewImport } from '../../api/portfolio/import/import.ts'
import { readSettings } from '../../config.ts'
import { CodedError } from '../../protocol/errors.ts'
import { requireSignIn } from '../account/require-sign-in.ts'
import { EMPTY_FORM } from '../site/form.ts'
import { formWithErrors } from '../site/handle-form.ts'
import { errorPage, renderPage, securityHeaders } from '../site/respond.ts'
import { importPage, type PreviewedFile } from './import.ts'

/** Bytes of the form besides the file. */
const FORM_OVERHEAD_BYTES = 10_000

/** The form of this page, with a file or the content of a previewed one. */
type ImportForm = { name: string; bytes: Uint8Array; createCustomAssets: boolean; key: string; step: string }

const missingFile = (): CodedError => invalidField('file', 'choose a file')

/** @throws CodedError `message_too_large`, `invalid_request` */
async function readImportForm(c: Context<AppEnv>): Promise<ImportForm> {
  const maxBytes = readSettings(c.env).MAX_IMPORT_BYTES
  // Base64 has four characters for three bytes.
  const body = await readBytes(c.req.raw, Math.ceil((maxBytes * 4) / 3) + FORM_OVERHEAD_BYTES)
  const type = c.req.header('content-type') ?? ''
  const form = await new Response(body, { headers: { 'content-type': type } }).formData().catch(() => {
    throw missingFile()
  })
  const text = (name: string): string => {
    const value = form.get(name)
    return typeof value === 'string' ? value : ''
  }
  const value = form.get('file')
  const file = value === null || typeof value === 'string' ? null : (value as File)
  const bytes = file ? new Uint8Array(await file.arrayBuffer()) : Buffer.from(text('content'), 'base64')
  if (bytes.length === 0) throw file?.name ? invalidField('file', 'this file is empty') : missingFile()
  if (bytes.length > maxBytes) throw new CodedError('message_too_large', `A file must have at most ${maxBytes} bytes.`)
  const name = (file?.name ?? text('name')).slice(0, 200)
  return { name, bytes, createCustomAssets: text('unknown') === 'own', key: text('key'), step: text('step') }
}

const toImportQuery = ({ createCustomAssets }: ImportForm): ImportQuery => ({
  dry_run: false,
  unknown: createCustomAssets ? 'own' : 'refuse',
})

async function previewFile(c: Context<AppEnv>, form: ImportForm): Promise<PreviewedFile> {
  const { name, bytes, createCustomAssets } = form
  const result = await previewImport(userRequest(c), decodeText(bytes), toImportQuery(form))
  return { name, content: Buffer.from(bytes).toString('base64'), createCustomAssets, result }
}

/** Imports a previewed file. If it cannot be imported any more, responds with a new preview. */
async function submitImport(c: Context<AppEnv>, form: ImportForm): Promise<Response> {
  const text = decodeText(form.bytes)
  try {
    const input = [text, form.createCustomAssets]
    await runOnce(c, input, (request) => importFile(request, text, toImportQuery(form)), form.key || null)
    return c.redirect('/user/activities?done=imported', 303)
  } catch (error) {
    const { form: state, status } = formWithErrors(error, { file: '' })
    // The preview has the errors of the rows.
    return renderPage(c, importPage({ ...state, errors: [] }, await previewFile(c, form)), status)
  }
}

/** The page of import and export. A file is previewed first; the preview has the button that imports it. */
export const importPages = new Hono<AppEnv>()
  .get('/user/import', securityHeaders, requireSignIn, (c) => renderPage(c, importPage(EMPTY_FORM, null)))
  .post('/user/import', securityHeaders, requireSignIn, async (c) => {
    try {
      const form = await readImportForm(c)
      if (form.step === 'import') return await submitImport(c, form)
      return renderPage(c, importPage(EMPTY_FORM, await previewFile(c, form)))
    } catch (error) {
      const { form, status } = formWithErrors(error, { file: '' })
      return renderPage(c, importPage(form, null), status)
    }
  })

importPages.onError(errorPage)
