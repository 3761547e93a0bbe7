import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose'

/** Who a token says its bearer is. `name` is the one given at sign-up, empty where the issuer tells none. */
export type User = { id: string; email: string; name: string }

/** Why a token is refused; `keys_unavailable` alone says nothing about the token. */
export type RejectionReason =
  | 'malformed'
  | 'algorithm'
  | 'unknown_key'
  | 'signature'
  | 'expired'
  | 'not_yet_valid'
  | 'issuer'
  | 'audience'
  | 'claims'
  | 'keys_unavailable'

export type VerificationResult = { ok: true; user: User; expiresAt: number } | { ok: false; reason: RejectionReason }

export type Verifier = {
  /** Judges a token at `now` (unix milliseconds); `expiresAt` is in unix milliseconds too. */
  verify(token: string, now: number): Promise<VerificationResult>
}

/** Signatures that only the issuer can make. Never HS*, whose key would be the public one, and never `none`. */
const ALGORITHMS = ['ES256', 'RS256', 'EdDSA']
/** Clocks of issuer and Worker may differ by so many seconds. */
const CLOCK_SKEW_S = 30
/** Keys are read again after so long: a key that the issuer has withdrawn opens nothing later than that. Milliseconds. */
const KEYS_MAX_AGE_MS = 300_000
/**
 * A token may name a key that was made a moment ago: then the keys are read again, so often at most within so many
 * milliseconds. Tokens with invented key ids cannot make the Worker ask without end.
 */
const MAX_KEY_REFETCHES = 5
const KEY_REFETCH_WINDOW_MS = 30_000
/** Longest token that is looked at: far longer than any issuer's. */
const MAX_TOKEN_LENGTH = 8_192

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The user that the claims name, or null where one is missing that every issuer here writes. */
function userOf(claims: JWTPayload): User | null {
  const { sub, email, name, user_metadata } = claims as JWTPayload & Record<string, unknown>
  if (typeof sub !== 'string' || !UUID.test(sub) || typeof email !== 'string' || email === '') return null
  const told = name ?? (user_metadata as { name?: unknown } | undefined)?.name
  return { id: sub, email, name: typeof told === 'string' ? told : '' }
}

function rejectionReason(error: unknown): RejectionReason {
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'iss') return 'issuer'
    if (error.claim === 'aud') return 'audience'
    const early = error.reason === 'check_failed' && (error.claim === 'nbf' || error.claim === 'iat')
    return early ? 'not_yet_valid' : 'claims'
  }
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported) return 'algorithm'
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys)
    return 'unknown_key'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature'
  if (error instanceof errors.JOSEError) return 'malformed'
  throw error
}

/**
 * Judges tokens of one issuer. Its keys are kept for five minutes, and read again when a token names one that is not
 * among them; no request waits for the reading that another began, since a Worker's requests cannot share one.
 * @param readKeys reads the issuer's public keys as they are now; a rejection is told as `keys_unavailable`.
 */
export function tokenVerifier(
  { issuer, audience }: { issuer: string; audience: string },
  readKeys: () => Promise<JSONWebKeySet>,
): Verifier {
  let kept: { keys: ReturnType<typeof createLocalJWKSet>; at: number } | null = null
  let rereads: number[] = []

  const read = async (now: number) => {
    const keys = createLocalJWKSet(await readKeys())
    if (kept === null || kept.at <= now) kept = { keys, at: now }
    return keys
  }
  const mayReread = (now: number): boolean => {
    rereads = rereads.filter((at) => now - at < KEY_REFETCH_WINDOW_MS)
    if (rereads.length >= MAX_KEY_REFETCHES) return false
    rereads.push(now)
    return true
  }
  const judge = async (
    token: string,
    keys: ReturnType<typeof createLocalJWKSet>,
    now: number,
  ): Promise<VerificationResult> => {
    try {
      const { payload } = await jwtVerify(token, keys, {
        algorithms: ALGORITHMS,
        issuer,
        audience,
        clockTolerance: CLOCK_SKEW_S,
        currentDate: new Date(now),
        requiredClaims: ['exp', 'iat', 'sub'],
      })
      if ((payload.iat as number) * 1_000 > now + CLOCK_SKEW_S * 1_000) return { ok: false, reason: 'not_yet_valid' }
      const user = userOf(payload)
      if (user === null) return { ok: false, reason: 'claims' }
      return { ok: true, user, expiresAt: (payload.exp as number) * 1_000 }
    } catch (error) {
      return { ok: false, reason: rejectionReason(error) }
    }
  }

  return {
    async verify(token, now) {
      if (token.length > MAX_TOKEN_LENGTH) return { ok: false, reason: 'malformed' }
      try {
        const fresh = kept !== null && now - kept.at < KEYS_MAX_AGE_MS
        const verdict = await judge(token, fresh && kept !== null ? kept.keys : await read(now), now)
        if (verdict.ok || verdict.reason !== 'unknown_key' || !fresh || !mayReread(now)) return verdict
        return await judge(token, await read(now), now)
      } catch {
        return { ok: false, reason: 'keys_unavailable' }
      }
    },
  }
}
