/**
 * Lengths of a password in UTF-16 units. Nothing else is asked of it (NIST SP 800-63B): length is what makes guessing
 * hard. The upper bound keeps hashing from being given books.
 */
export const MIN_PASSWORD_LENGTH = 10
export const MAX_PASSWORD_LENGTH = 128
