/** The text of anything that was thrown. */
export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Writes one line of structured log. Fields must not contain secrets or personal data. */
export const log = (event: string, fields: Record<string, unknown>): void =>
  console.log(JSON.stringify({ event, ...fields }))
