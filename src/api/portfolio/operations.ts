import { z } from 'zod'
import type { ErrorCode } from '../../protocol/errors.ts'
import { response } from '../http/operation.ts'

const etag = z.string().meta({ description: 'The version, for If-Match', example: '"v1"' })

export const okWithEtag = (description: string, schema: z.ZodType) => response(200, description, schema, { etag })

export const createdResponse = (description: string, schema: z.ZodType) =>
  response(201, description, schema, { etag, location: z.string() })

export const idPath = z.object({ id: z.uuid() })

export const idempotencyHeaders = z.object({
  'idempotency-key': z.string().min(1).max(200).optional().meta({
    description: 'A repeated request with the same key gets the response of the first, for a day',
  }),
})

export const conditionalHeaders = idempotencyHeaders.extend({
  'if-match': z.string().optional().meta({ description: 'The ETag that was read; another version is not changed' }),
})

export const READ_ERRORS: readonly ErrorCode[] = ['unauthorized', 'unavailable']
export const WRITE_ERRORS: readonly ErrorCode[] = [
  ...READ_ERRORS,
  'invalid_request',
  'forbidden',
  'message_too_large',
  'insufficient_quantity',
  'idempotency_conflict',
]
export const CHANGE_ERRORS: readonly ErrorCode[] = [...WRITE_ERRORS, 'version_conflict']
export const SYMBOL_ERRORS: readonly ErrorCode[] = ['unknown_symbol', 'ambiguous_symbol']
