import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose'

/** The user of a token. `name` is from the sign-up; empty if the issuer has none. */
export type User = { id: string; email: string; name: string }

/** Why a token is rejected. `keys_unavailable` says nothing about the token. */
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

/** `S` is the source from which the issuer's keys are read. */
export type Verifier<S = void> = {
  /** Verifies a token at `now`. Both `now` and `expiresAt` are Unix milliseconds. */
  verify(token: string, now: number, source: S): Promise<VerificationResult>
}

/** Asymmetric signatures only: never HS*, whose key would be the public one, and never `none`. */
const ALGORITHMS = ['ES256', 'RS256', 'EdDSA']
const CLOCK_SKEW_S = 30
/** Keys are refetched after this long, which bounds how long a revoked key is accepted. */
const KEYS_MAX_AGE_MS = 300_000
/** An unknown key id may be a new key, so the keys are refetched. Limited, because anybody can invent key ids. */
const MAX_KEY_REFETCHES = 5
const KEY_REFETCH_WINDOW_MS = 30_000
/** Far longer than any issuer's tokens. */
const MAX_TOKEN_LENGTH = 8_192

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The user of the claims; null if a required claim is missing. */
function userOf(claims: JWTPayload): User | null {
  const { sub, email, name, user_metadata } = claims as JWTPayload & Record<string, unknown>
  if (typeof sub !== 'string' || !UUID.test(sub) || typeof email !== 'string' || email === '') return null
  const displayName = name ?? (user_metadata as { name?: unknown } | undefined)?.name
  return { id: sub, email, name: typeof displayName === 'string' ? displayName : '' }
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
 * Verifies the tokens of one issuer. Caches its keys for five minutes, and refetches them when a token names an unknown
 * key. Every request fetches for itself, because requests of a Worker cannot share a promise; jose's
 * `createRemoteJWKSet` does.
 * @param readKeys fetches the issuer's public keys; a rejection becomes `keys_unavailable`
 */
export function tokenVerifier<S = void>(
  { issuer, audience }: { issuer: string; audience: string },
  readKeys: (source: S) => Promise<JSONWebKeySet>,
): Verifier<S> {
  let cached: { keys: ReturnType<typeof createLocalJWKSet>; at: number } | null = null
  let refetches: number[] = []

  const read = async (now: number, source: S) => {
    const keys = createLocalJWKSet(await readKeys(source))
    if (cached === null || cached.at <= now) cached = { keys, at: now }
    return keys
  }
  const mayRefetch = (now: number): boolean => {
    refetches = refetches.filter((at) => now - at < KEY_REFETCH_WINDOW_MS)
    if (refetches.length >= MAX_KEY_REFETCHES) return false
    refetches.push(now)
    return true
  }
  const verifyWith = async (
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
    async verify(token, now, source) {
      if (token.length > MAX_TOKEN_LENGTH) return { ok: false, reason: 'malformed' }
      try {
        const fresh = cached !== null && now - cached.at < KEYS_MAX_AGE_MS ? cached.keys : null
        const result = await verifyWith(token, fresh ?? (await read(now, source)), now)
        if (result.ok || result.reason !== 'unknown_key' || fresh === null || !mayRefetch(now)) return result
        return await verifyWith(token, await read(now, source), now)
      } catch {
        return { ok: false, reason: 'keys_unavailable' }
      }
    },
  }
}
