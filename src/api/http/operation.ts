import { z } from 'zod'
import type { ZodOpenApiOperationObject } from 'zod-openapi'
import { ERROR_CODES, type ErrorCode } from '../../protocol/errors.ts'
import { problemSchema } from './problems.ts'

/** Errors that every endpoint may respond with. */
const COMMON_ERRORS: readonly ErrorCode[] = ['too_many_requests', 'internal']

const retryAfter = z.string().optional().meta({ description: 'Seconds to wait before the next attempt' })

/** The problem responses of an operation by status, each with its possible codes. */
function problemResponses(codes: readonly ErrorCode[]) {
  const byStatus = Map.groupBy([...codes, ...COMMON_ERRORS], (code) => ERROR_CODES[code].status)
  return Object.fromEntries(
    [...byStatus].map(([status, group]) => [
      `${status}` as `${400}`,
      {
        description: group.map((code) => `\`${code}\`: ${ERROR_CODES[code].title}`).join('; '),
        content: { 'application/problem+json': { schema: problemSchema } },
        ...(status === 429 || status === 503 ? { headers: z.object({ 'retry-after': retryAfter }) } : {}),
      },
    ]),
  )
}

type OperationParts = Omit<ZodOpenApiOperationObject, 'responses' | 'operationId'> & { operationId: string }

/** An OpenAPI operation: its own responses, and the problems with these codes or a common one. */
export const operation = (
  parts: OperationParts,
  responses: ZodOpenApiOperationObject['responses'],
  codes: readonly ErrorCode[],
): ZodOpenApiOperationObject => ({ ...parts, responses: { ...responses, ...problemResponses(codes) } })

/** The security of endpoints for users: an access token or the session cookie. */
export const USER_SECURITY: Record<string, string[]>[] = [{ user: [] }, { session: [] }]

/** A required JSON body. */
export const jsonRequestBody = (schema: z.ZodType) => ({
  requestBody: { required: true, content: { 'application/json': { schema } } },
})

/** A 200 response with JSON. */
export const jsonResponse = (description: string, schema: z.ZodType) => ({
  200: { description, content: { 'application/json': { schema } } },
})

/** A 202 response with JSON. */
export const acceptedResponse = (description: string, schema: z.ZodType) => ({
  202: { description, content: { 'application/json': { schema } } },
})

/** A 204 response. */
export const noContentResponse = (description: string) => ({ 204: { description } })

/** The responses of an event stream. */
export const eventStreamResponse = (description: string) => ({
  200: { description, content: { 'text/event-stream': { schema: z.string() } } },
})
