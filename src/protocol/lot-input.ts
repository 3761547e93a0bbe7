import { z } from 'zod'
import { MINOR_UNITS } from './minor-unit.ts'
import { ACTIVITY_KINDS } from './portfolio.ts'

/** Longest note, in UTF-16 units. */
export const MAX_NOTE_CHARS = 500
/** Lots that one sale may name. */
const MAX_NAMED_LOTS = 1_000
const MAX_SYMBOL_CHARS = 100

const DECIMAL_ERROR =
  'must be a decimal in quotes, such as "12.5", not below 0, of 30 digits before the point and 18 after it at most'
const NOT_A_STRING_ERROR = 'must be in quotes, such as "12.5": a number of JSON may have lost digits'

/** `007.50` -> `7.5` */
function trimZeros(text: string): string {
  const digits = text.replace(/^0+(?=\d)/, '')
  return digits.includes('.') ? digits.replace(/\.?0+$/, '') : digits
}

/** An amount of 0 or more. */
const amount = z
  .string({
    error: ({ input }) =>
      input === undefined ? 'is required' : typeof input === 'number' ? NOT_A_STRING_ERROR : DECIMAL_ERROR,
  })
  .trim()
  .regex(/^\d{1,30}(\.\d{1,18})?$/, DECIMAL_ERROR)
  .transform(trimZeros)
  .meta({ example: '12.5' })
const positive = amount.refine((text) => text !== '0', 'must be above 0').meta({ example: '12.5' })

const symbol = z
  .string({ error: ({ input }) => (input === undefined ? 'is required: a symbol such as AAPL' : 'must be text') })
  .trim()
  .min(1, 'is required: a symbol such as AAPL')
  .max(MAX_SYMBOL_CHARS, `has ${MAX_SYMBOL_CHARS} characters at most`)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'must be text of one line')
  .meta({
    description: 'Any name of an asset, as GET /get-price takes it; or the symbol of an asset of your own',
    example: 'AAPL',
  })

const currency = z
  .string('must be a currency such as USD')
  .trim()
  .superRefine((code, context) => {
    // Checked before the conversion to upper case, in which GBp would become GBP.
    const whole = MINOR_UNITS.get(code)
    if (whole !== undefined)
      context.addIssue({ code: 'custom', message: `${code} is a hundredth of ${whole}: give the amounts in ${whole}` })
  })
  .toUpperCase()
  .regex(/^[A-Z][A-Z0-9]{1,11}$/, 'must be a currency such as USD')
  .meta({ description: 'Of price and fees', example: 'USD' })

const TIME_ERROR = 'must be an RFC 3339 time such as 2026-01-31T14:30:00Z, or a date, from 1900 on'

const traded_at = z
  .string(TIME_ERROR)
  .trim()
  .transform((text, context) => {
    const time = z.iso.date().safeParse(text).success ? `${text}T00:00:00Z` : text
    if (z.iso.datetime({ offset: true }).safeParse(time).success) {
      const utc = new Date(time)
        .toISOString()
        .replace(/(\.\d*?)0+Z$/, '$1Z')
        .replace('.Z', 'Z')
      // In UTC: imports, Kerb's own exports included, accept no earlier time.
      if (utc >= '1900') return utc
    }
    context.addIssue({ code: 'custom', message: TIME_ERROR })
    return z.NEVER
  })
  .meta({ description: 'RFC 3339, or a date: its midnight in UTC; not in the future', example: '2026-01-31T14:30:00Z' })

const note = z
  .string('must be text')
  .trim()
  .max(MAX_NOTE_CHARS, `has ${MAX_NOTE_CHARS} characters at most`)
  // Without control characters and lone surrogates, which the database refuses.
  .regex(/^(?:[\t\r\n]|[^\p{Cc}\p{Cs}])*$/u, 'must be text')
  .transform((text) => (text === '' ? null : text))
  .nullable()

const namedLot = z.strictObject({ lot_id: z.uuid('must be the id of a lot').toLowerCase(), quantity: positive })
const lots = z
  .array(namedLot, 'must be a list of lots')
  .min(1, 'must name one lot at least')
  .max(MAX_NAMED_LOTS, `must name ${MAX_NAMED_LOTS} lots at most`)
  .refine((named) => new Set(named.map(({ lot_id }) => lot_id)).size === named.length, 'must name each lot once')
  .nullable()
  .meta({ description: 'The lots to take, whose quantities add up to the whole; without it, the oldest first' })

const split = z.strictObject(
  { numerator: positive, denominator: positive },
  'is required: how many new for how many old',
)

const unknownKeysError = {
  error: (issue: { code?: string }) => (issue.code === 'unrecognized_keys' ? 'has unknown fields' : undefined),
}

const input = <S extends z.core.$ZodLooseShape>(shape: S) => z.strictObject(shape, unknownKeysError)

const optionalFields = {
  fees: amount.optional(),
  currency: currency.optional(),
  traded_at: traded_at.optional(),
  note: note.optional(),
}

const trade = { symbol, quantity: positive, price: amount, ...optionalFields }

/** `POST /api/v1/stocks`: a purchase. Defaults: no fees, the asset's currency, now. */
export const newLotSchema = input(trade)

/** `PATCH /api/v1/stocks/:id`; fields that are left out stay. */
export const lotChangeSchema = newLotSchema.partial()

/** `POST /api/v1/stocks/:id/sell` */
export const sellSchema = input({ quantity: positive, price: amount, ...optionalFields, lots: lots.optional() })

/** `POST /api/v1/activities`: any kind, each with its fields. */
export const newActivitySchema = z.discriminatedUnion(
  'kind',
  [
    input({ kind: z.enum(['buy', 'transfer_in', 'dividend']), ...trade }),
    input({ kind: z.literal('sell'), ...trade, lots: lots.optional() }),
    input({ kind: z.literal('transfer_out'), ...trade, price: amount.optional(), lots: lots.optional() }),
    input({
      kind: z.enum(['fee', 'interest', 'tax']),
      symbol: symbol.optional(),
      quantity: positive.optional().meta({ description: '1 if it is not given: the amount is then price' }),
      price: amount,
      ...optionalFields,
    }),
    input({ kind: z.literal('split'), symbol, split, traded_at: optionalFields.traded_at, note: optionalFields.note }),
  ],
  { error: () => `must be one of ${ACTIVITY_KINDS.join(', ')}` },
)
export type NewActivityInput = z.output<typeof newActivitySchema>

/** `PATCH /api/v1/activities/:id`; fields that are left out stay, and so does the kind. */
export const activityChangeSchema = input({
  ...lotChangeSchema.shape,
  lots: lots.optional(),
  split: split.optional(),
})
export type ActivityChange = z.output<typeof activityChangeSchema>

const LIMIT_ERROR = 'must be a whole number from 1 to 500'
const paging = {
  limit: z
    .string()
    .regex(/^\d{1,3}$/, LIMIT_ERROR)
    .transform(Number)
    .pipe(z.number().min(1, LIMIT_ERROR).max(500, LIMIT_ERROR))
    .default(100)
    .meta({ description: 'From 1 to 500; 100 if it is not given' }),
  cursor: z.string().max(200, 'must be what a page gave as next_cursor').optional(),
  symbol: z.string().trim().max(MAX_SYMBOL_CHARS, `has ${MAX_SYMBOL_CHARS} characters at most`).optional(),
}

/** The query of `GET /api/v1/stocks`. */
export const lotsQuerySchema = z.object({
  ...paging,
  open: z
    .enum(['true', 'false'], 'must be true or false')
    .transform((text) => text === 'true')
    .optional()
    .meta({ description: 'true: what is still held; false: what is closed; without it, both' }),
})

/** The query of `GET /api/v1/activities`. */
export const activitiesQuerySchema = z.object({
  ...paging,
  kind: z.enum(ACTIVITY_KINDS, `must be one of ${ACTIVITY_KINDS.join(', ')}`).optional(),
})

/** The query of `POST /api/v1/stocks/:id/sell`. */
export const sellQuerySchema = z.object({
  dry_run: z
    .enum(['true', 'false'], 'must be true or false')
    .default('false')
    .transform((text) => text === 'true')
    .meta({ description: 'true: returns what the sale would do, and writes nothing' }),
})
