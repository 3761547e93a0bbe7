/**
 * Error codes that were renamed since the recording: the recorded name, then the present one. Every other code has to equal
 * the recorded one.
 */
const RENAMED: readonly (readonly [recorded: string, present: string])[] = [
  ['token_over', 'token_expired'],
  ['session_over', 'session_expired'],
]

/** The recorded name of a code. */
export const recordedCode = (present: string): string => RENAMED.find(([, name]) => name === present)?.[0] ?? present
