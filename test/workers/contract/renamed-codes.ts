/**
 * Error codes that have another name than in the recordings: the recorded name, then the present one. With no entry
 * every code has to be what was recorded.
 */
const RENAMED: readonly (readonly [recorded: string, present: string])[] = [['token_over', 'token_expired']]

/** The name that a code has in the recordings. */
export const recordedCode = (present: string): string => RENAMED.find(([, name]) => name === present)?.[0] ?? present
