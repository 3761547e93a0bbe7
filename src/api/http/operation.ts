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

/** The security of operations for users: an access token or the session cookie. */
export const USER_SECURITY: Record<string, string[]>[] = [{ user: [] }, { session: [] }]

/** Operations of the OpenAPI document by method and path, such as `get /health`. */
export type Operations = Record<`${'get' | 'post' | 'patch' | 'delete'} /${string}`, ZodOpenApiOperationObject>

/** `path`, `query` and `header` are parameters, `body` a required JSON body; `errors` are in addition to the common ones. */
type OperationParts = Pick<ZodOpenApiOperationObject, 'description' | 'security' | 'requestBody' | 'responses'> & {
  summary: string
  path?: z.ZodObject
  query?: z.ZodObject
  header?: z.ZodObject
  body?: z.ZodType
  errors: readonly ErrorCode[]
}

/** An operation of the OpenAPI document. One that responds with `unauthorized` is for users, unless `security` says else. */
export const operation = (
  tag: string,
  operationId: string,
  { path, query, header, body, responses, errors, ...parts }: OperationParts,
): ZodOpenApiOperationObject => ({
  operationId,
  tags: [tag],
  ...(errors.includes('unauthorized') && { security: USER_SECURITY }),
  ...parts,
  ...((path || query || header) && {
    requestParams: { ...(path && { path }), ...(query && { query }), ...(header && { header }) },
  }),
  ...(body && { requestBody: { required: true, content: { 'application/json': { schema: body } } } }),
  responses: { ...responses, ...problemResponses(errors) },
})

/** A response with JSON, or without a body where `schema` is left out. */
export const response = (
  status: 101 | 200 | 201 | 202 | 204 | 304 | 503,
  description: string,
  schema?: z.ZodType,
  headers?: Record<string, z.ZodType>,
) => ({
  [status as 200]: {
    description,
    ...(headers && { headers: z.object(headers) }),
    ...(schema && { content: { 'application/json': { schema } } }),
  },
})

/** The response of an event stream. */
export const eventStreamResponse = (description: string) => ({
  200: { description, content: { 'text/event-stream': { schema: z.string() } } },
})
