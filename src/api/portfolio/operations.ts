import { z } from 'zod'
import type { ErrorCode } from '../../protocol/errors.ts'
import { jsonResponse, operation, USER_SECURITY } from '../http/operation.ts'

type OperationArguments = Parameters<typeof operation>

/** An operation on a user's own portfolio, for the OpenAPI document. */
export const portfolioOperation = (
  parts: Omit<OperationArguments[0], 'tags' | 'security'>,
  responses: OperationArguments[1],
  codes: readonly ErrorCode[],
) => operation({ ...parts, tags: ['Portfolio'], security: USER_SECURITY }, responses, codes)

const etag = z.string().meta({ description: 'The version, for If-Match', example: '"v1"' })

export const okWithEtag = (description: string, schema: z.ZodType) => ({
  200: { ...jsonResponse(description, schema)[200], headers: z.object({ etag }) },
})

export const createdResponse = (description: string, schema: z.ZodType) => ({
  201: {
    description,
    headers: z.object({ etag, location: z.string() }),
    content: { 'application/json': { schema } },
  },
})

export const deletedResponse = { 204: { description: 'Deleted' } }

export const idPath = z.object({ id: z.uuid() })

export const idempotencyHeaders = z.object({
  'idempotency-key': z.string().min(1).max(200).optional().meta({
    description: 'The same request with the same key is done once within a day, and has the same answer',
  }),
})

export const conditionalHeaders = idempotencyHeaders.extend({
  'if-match': z.string().optional().meta({ description: 'The ETag that was read: another version is not changed' }),
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
export const SYMBOL_ERRORS: readonly ErrorCode[] = ['unknown_symbol', 'ambiguous_symbol']
