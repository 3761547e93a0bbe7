import type { Candidate } from './asset.ts'

/** The error codes in problem details and `error` frames. A closed set: clients may switch on it. */
export const ERROR_CODES = {
  invalid_request: { status: 400, title: 'Invalid request' },
  invalid_message: { status: 400, title: 'Invalid message' },
  message_too_large: { status: 413, title: 'Message too large' },
  unknown_channel: { status: 400, title: 'No such channel' },
  unknown_granularity: { status: 400, title: 'No such granularity' },
  unknown_product: { status: 404, title: 'No such product' },
  unknown_symbol: { status: 404, title: 'No such symbol' },
  ambiguous_symbol: { status: 409, title: 'Ambiguous symbol' },
  unknown_range: { status: 400, title: 'No such range' },
  too_many_symbols: { status: 400, title: 'Too many symbols' },
  unauthorized: { status: 401, title: 'Not signed in, or an invalid token or key' },
  invalid_credentials: { status: 401, title: 'Wrong email or password' },
  forbidden: { status: 403, title: 'Not allowed' },
  token_expired: { status: 400, title: 'Token expired or already used' },
  unknown_lot: { status: 404, title: 'No such lot' },
  unknown_activity: { status: 404, title: 'No such activity' },
  insufficient_quantity: { status: 409, title: 'Insufficient quantity' },
  version_conflict: { status: 412, title: 'Changed by another request' },
  idempotency_conflict: { status: 409, title: 'Idempotency key used for another request' },
  product_offline: { status: 409, title: 'Product not traded now' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  upgrade_required: { status: 426, title: 'WebSocket upgrade required' },
  too_many_requests: { status: 429, title: 'Too many requests' },
  too_many_sockets: { status: 429, title: 'Too many open sockets' },
  too_many_channels: { status: 400, title: 'Too many channels' },
  unavailable: { status: 503, title: 'Temporarily unavailable' },
  internal: { status: 500, title: 'Internal error' },
} as const satisfies Record<string, { status: number; title: string }>

export type ErrorCode = keyof typeof ERROR_CODES

/** What is wrong with one field of the input. `row` is the row of an imported file, as in the result of the import. */
export type FieldError = { field: string; message: string; row?: number }

/** Problem details (RFC 9457). */
export type Problem = {
  type: string
  title: string
  status: number
  detail: string
  code: ErrorCode
  request_id: string
  errors?: FieldError[]
  /** With `ambiguous_symbol`: the assets that the symbol matches. */
  candidates?: Candidate[]
}

/** The range says what a client does next: 4000-4099 stop, 4100-4199 reconnect after a pause, 4200-4299 at once. */
export const CLOSE_CODES = {
  signed_out: 4001,
  unavailable: 4101,
  slow_reader: 4102,
  silent_reader: 4103,
  restarting: 4200,
  /** The token or ticket that opened the socket has expired: reconnect with a new one. */
  session_expired: 4201,
} as const

/** An error for a client: thrown where it is found, translated once at the boundary (HTTP or socket). */
export class CodedError extends Error {
  readonly code: ErrorCode
  readonly errors: FieldError[]
  /** Retry-After, seconds. */
  readonly retryAfter: number | undefined
  readonly candidates: readonly Candidate[] | undefined

  constructor(
    code: ErrorCode,
    detail: string,
    options: { errors?: FieldError[]; retryAfter?: number; candidates?: readonly Candidate[]; cause?: unknown } = {},
  ) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'CodedError'
    this.code = code
    this.errors = options.errors ?? []
    this.retryAfter = options.retryAfter
    this.candidates = options.candidates
  }
}
