import { z } from 'zod'
import { activitySchema } from '../../../protocol/activity.ts'

/** The most errors, skipped rows and activities that a response lists; its counts have all of them. */
export const MAX_LISTED = 500

const rowErrorSchema = z.object({
  row: z
    .int()
    .meta({ description: 'As a spreadsheet counts: the names of the columns are row 1; of JSON the activity' }),
  field: z.string(),
  message: z.string(),
})

const { shape: importedActivity } = activitySchema.omit({
  id: true,
  asset_id: true,
  lots: true,
  short: true,
  version: true,
  created_at: true,
  updated_at: true,
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
      .array(z.object({ row: z.int(), ...importedActivity, duplicate: z.boolean() }))
      .meta({ description: `The first ${MAX_LISTED}` }),
  })
  .meta({ id: 'Import', description: 'The result of an import or of a dry run' })
export type ImportResult = z.infer<typeof importResultSchema>
export type RowError = z.infer<typeof rowErrorSchema>
