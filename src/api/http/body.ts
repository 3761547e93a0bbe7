import type { Context } from 'hono'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from './context.ts'
import { invalidField } from './input.ts'

/** Longest body by default: about 1,000 symbols of the longest kind are 50 KB. */
const MAX_BODY_BYTES = 262_144

/** Reads the body of a request. @throws CodedError `message_too_large` for more than `maxBytes` */
export async function readBytes(request: Request, maxBytes = MAX_BODY_BYTES): Promise<Uint8Array> {
  const tooLarge = () => new CodedError('message_too_large', `The body must have at most ${maxBytes} bytes.`)
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge()
  const parts: Uint8Array<ArrayBuffer>[] = []
  let size = 0
  // A chunked body does not declare its length.
  for await (const part of request.body ?? []) {
    size += part.length
    if (size > maxBytes) throw tooLarge()
    parts.push(part)
  }
  return new Blob(parts).bytes()
}

const contentType = (c: Context<AppEnv>): string | undefined =>
  c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase()

/**
 * Parses the body as JSON; null for an empty body.
 * @throws CodedError `message_too_large`, or `invalid_request` for invalid JSON or another content type
 */
export async function readJson(c: Context<AppEnv>): Promise<unknown> {
  const bytes = await readBytes(c.req.raw)
  if (bytes.length === 0) return null
  const type = contentType(c)
  if (type !== undefined && type !== 'application/json') throw invalidField('content-type', 'must be application/json')
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes))
  } catch {
    throw invalidField('body', 'must be JSON in UTF-8')
  }
}

/** A JSON object before it is parsed by a schema. */
export type JsonFields = Record<string, unknown>

/** Parses the body as a JSON object. @throws CodedError `message_too_large`, `invalid_request` */
export async function readFields(c: Context<AppEnv>): Promise<JsonFields> {
  const body = await readJson(c)
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as JsonFields
  throw invalidField('body', 'must be a JSON object')
}

/**
 * Parses the body as a form; the last value of a repeated field wins.
 * @throws CodedError `message_too_large`, or `invalid_request` for another content type
 */
export async function readForm(c: Context<AppEnv>): Promise<Record<string, string>> {
  const bytes = await readBytes(c.req.raw)
  if (contentType(c) !== 'application/x-www-form-urlencoded')
    throw invalidField('content-type', 'must be application/x-www-form-urlencoded')
  return Object.fromEntries(new URLSearchParams(new TextDecoder().decode(bytes)))
}
