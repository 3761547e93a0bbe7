import { z } from 'zod'
import { splitSchema } from '../../../protocol/activity.ts'
import { ACTIVITY_KINDS, decimalSchema } from '../../../protocol/portfolio.ts'

/** The most errors, skipped rows and activities that a response lists; its counts have all of them. */
export const MAX_LISTED = 500

const rowErrorSchema = z.object({
  row: z
    .int()
    .meta({ description: 'As a spreadsheet counts: the names of the columns are row 1; of JSON the activity' }),
  field: z.string(),
  message: z.string(),
})

/** The result of an import or of a dry run. */
export const importResultSchema = z
  .object({
    format: z.string().nullable().meta({ description: 'The format of the file; null if it was not recognised' }),
    dry_run: z.boolean(),
    rows: z.int().meta({ description: 'Rows of the file' }),
    imported: z.int().meta({ description: 'Activities that were added, or would be' }),
    duplicates: z.int().meta({ description: 'Activities that are stored already' }),
    skipped: z.int().meta({ description: 'Rows without effect on the positions' }),
    failed: z.int().meta({ description: 'Number of errors; with any error nothing is imported' }),
    errors: z.array(rowErrorSchema).meta({ description: `The first ${MAX_LISTED}` }),
    skips: z.array(z.object({ row: z.int(), reason: z.string() })).meta({ description: `The first ${MAX_LISTED}` }),
    activities: z
      .array(
        z.object({
          row: z.int(),
          kind: z.enum(ACTIVITY_KINDS),
          symbol: z.string().nullable(),
          name: z.string().nullable(),
          quantity: decimalSchema,
          price: decimalSchema,
          fees: decimalSchema,
          currency: z.string(),
          traded_at: z.string(),
          split: splitSchema.nullable(),
          note: z.string().nullable(),
          duplicate: z.boolean(),
        }),
      )
      .meta({ description: `The first ${MAX_LISTED}` }),
  })
  .meta({ id: 'Import', description: 'The result of an import or of a dry run' })
export type ImportResult = z.infer<typeof importResultSchema>
export type RowError = z.infer<typeof rowErrorSchema>
