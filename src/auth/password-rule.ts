/**
 * Bounds for the length of a password in UTF-16 units, the only rule (NIST SP 800-63B): length makes guessing hard. The
 * upper bound limits the cost of hashing.
 */
export const MIN_PASSWORD_LENGTH = 10
export const MAX_PASSWORD_LENGTH = 128
