import type { Context } from 'hono'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from './context.ts'
import { invalidField } from './input.ts'

/** Longest body that is read, bytes: some 1,000 symbols of the longest kind are 50 KB. */
const MAX_BODY_BYTES = 262_144

/** A body longer than that. @throws CodedError `message_too_large` */
function throwTooLarge(most: number): never {
  throw new CodedError('message_too_large', `a body has ${most} bytes at most`)
}

/** The bytes of a request. @param most how many are taken @throws CodedError `message_too_large` */
export async function readBytes(request: Request, most = MAX_BODY_BYTES): Promise<Uint8Array> {
  if (Number(request.headers.get('content-length') ?? 0) > most) throwTooLarge(most)
  const parts: Uint8Array[] = []
  let size = 0
  // Not every body says how long it is.
  for await (const part of request.body ?? []) {
    size += part.length
    if (size > most) throwTooLarge(most)
    parts.push(part)
  }
  const bytes = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/**
 * The JSON of a request's body; null where there is none.
 * @throws CodedError `message_too_large`, or `invalid_request` for another type of content or what is not JSON
 */
export async function readJson(c: Context<AppEnv>): Promise<unknown> {
  const bytes = await readBytes(c.req.raw)
  if (bytes.length === 0) return null
  const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase()
  if (type !== undefined && type !== 'application/json') throw invalidField('content-type', 'must be application/json')
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes))
  } catch {
    throw invalidField('body', 'must be JSON in UTF-8')
  }
}

/** A JSON object that nothing is known of yet. */
export type JsonFields = Record<string, unknown>

/** The fields of a JSON body. @throws CodedError `invalid_request` for anything but an object */
export async function readFields(c: Context<AppEnv>): Promise<JsonFields> {
  const body = await readJson(c)
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as JsonFields
  throw invalidField('body', 'must be a JSON object')
}

/**
 * The fields of a form that a page has sent; of several with one name the last.
 * @throws CodedError `message_too_large`, or `invalid_request` for another type of content
 */
export async function readForm(c: Context<AppEnv>): Promise<Record<string, string>> {
  const bytes = await readBytes(c.req.raw)
  const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/x-www-form-urlencoded') throw invalidField('content-type', 'must be that of a form')
  return Object.fromEntries(new URLSearchParams(new TextDecoder().decode(bytes)))
}
