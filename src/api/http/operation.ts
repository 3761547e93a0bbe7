import { z } from 'zod'
import type { ZodOpenApiOperationObject } from 'zod-openapi'
import { ERROR_CODES, type ErrorCode } from '../../protocol/errors.ts'
import { problemSchema } from './response-schemas.ts'

/** What any address may answer. */
const COMMON_ERRORS: readonly ErrorCode[] = ['too_many_requests', 'internal']

/** The problems of an operation by status, each with the codes that it may have. */
function problemResponses(codes: readonly ErrorCode[]) {
  const byStatus = Map.groupBy([...codes, ...COMMON_ERRORS], (code) => ERROR_CODES[code].status)
  return Object.fromEntries(
    [...byStatus].map(([status, of]) => [
      `${status}` as `${400}`,
      {
        description: of.map((code) => `\`${code}\`: ${ERROR_CODES[code].title}`).join('; '),
        content: { 'application/problem+json': { schema: problemSchema } },
        ...(status === 429 || status === 503 ? { headers: z.object({ 'retry-after': retryAfter }) } : {}),
      },
    ]),
  )
}

const retryAfter = z.string().optional().meta({ description: 'Seconds after which to try again' })

type OperationParts = Omit<ZodOpenApiOperationObject, 'responses' | 'operationId'> & { operationId: string }

/** An operation with its own answers and, beside them, the problems that it and every address may have. */
export const operation = (
  parts: OperationParts,
  responses: ZodOpenApiOperationObject['responses'],
  codes: readonly ErrorCode[],
): ZodOpenApiOperationObject => ({ ...parts, responses: { ...responses, ...problemResponses(codes) } })

/** An answer of JSON. */
export const jsonResponse = (description: string, schema: z.ZodType) => ({
  200: { description, content: { 'application/json': { schema } } },
})
