import { backoffMs } from '../backoff.ts'
import { DAY_MS } from '../time.ts'

/** The reason for a request. When the rate limit is short, the later ones stop first: see PURPOSE_SHARES. */
export type Purpose = 'interactive' | 'find' | 'refresh' | 'history'

/** The rate limit of one provider. Weights are in the provider's own unit, times in milliseconds. */
export type RateLimits = {
  /** The weight that any stretch of `window` may have. */
  budget: number
  window: number
  /** Requests in flight at once. */
  concurrency: number
  /** A reservation that is not settled after this time expires: its caller is dead. Longer than a request's timeout. */
  lease: number
  /** Pause after a failure: doubles from the first to the last. */
  backoffMin: number
  backoffMax: number
  /** This many failures in a row open the circuit breaker, for `breakerOpen`; longer with each probe that fails. */
  breakerFailures: number
  breakerOpen: number
}

/** A request that the provider may have received at any time from `at` to `ended`. Unix milliseconds. */
type Reservation = {
  lease: number
  call: number
  at: number
  weight: number
  purpose: Purpose
  until: number
  ended: number | null
}

/**
 * `half_open` lets one call through, with all its requests, and its outcome decides. `call` is null
 * while none has come. `times` counts the openings since the provider last answered.
 */
type Breaker =
  | { kind: 'closed' }
  | { kind: 'open'; until: number; times: number }
  | { kind: 'half_open'; call: number | null; until: number; times: number }

/** How a request ended. `reportedUsage` is the used weight that the provider reports, `retryAfter` milliseconds. */
export type RequestOutcome = {
  status: number | null
  reportedUsage: number | null
  retryAfter: number | null
  /**
   * `answered`: there is a response, and its reader decides whether it is usable (`recordCallOutcome`). `limited`: the
   * provider allows no more requests. `failed`: the provider has failed.
   */
  kind: 'answered' | 'limited' | 'failed'
  error: string | null
}

/** How a whole call ended for its provider; `none` says nothing about it. */
export type CallOutcome = 'ok' | 'failed' | 'limited' | 'none'

export type RateLimitRefusal = {
  /** `window`, `concurrency`: our own limits. `limited`: the provider's. `backoff`, `breaker`: it has failed. */
  reason: 'window' | 'concurrency' | 'limited' | 'backoff' | 'breaker'
  /** The earliest time at which a request may be allowed, unix milliseconds. */
  retryAt: number
}

/**
 * The part of the budget that a purpose may use up: together with all others (`all`), and alone (`own`). A lookup must
 * find weight left during a refresh of a thousand assets, and a refresh during the loading of history; searches for
 * unknown names must not use up what known ones need.
 */
const PURPOSE_SHARES: Readonly<Record<Purpose, { all: number; own: number }>> = {
  interactive: { all: 1, own: 1 },
  find: { all: 1, own: 0.25 },
  refresh: { all: 0.9, own: 1 },
  history: { all: 0.75, own: 1 },
}

/** The longest block that is accepted: Binance bans for at most three days. */
const MAX_BLOCK_MS = 3 * DAY_MS

/** The state of a provider without any requests at `now` (unix milliseconds). */
export const newProviderState = (now: number) => ({
  spent: [] as Reservation[],
  nextLease: 1,
  breaker: { kind: 'closed' } as Breaker,
  /** Failures, and failures or refusals, since the provider last answered. */
  failures: 0,
  strikes: 0,
  blocked: null as { until: number; limited: boolean } | null,
  /** The used weight that the provider last reported. */
  told: null as number | null,
  lastStatus: null as number | null,
  lastError: null as string | null,
  lastRequestAt: null as number | null,
  /** Since `since`: requests that were sent, that our rate limit refused, and that the provider refused. */
  requests: 0,
  refused: 0,
  limited: 0,
  since: now,
})
/** The state of one provider's rate limit and circuit breaker: a plain value that is stored as JSON. */
export type ProviderState = ReturnType<typeof newProviderState>

/** The weight that all requests together may have after one of this purpose is granted. */
export const maxWeight = (limits: RateLimits, purpose: Purpose): number => shareOf(limits, PURPOSE_SHARES[purpose].all)

const shareOf = ({ budget }: RateLimits, share: number): number => Math.max(1, Math.floor(budget * share))

/** Whether a person waits for the request. */
export const isInteractive = (purpose: Purpose): boolean => purpose === 'interactive' || purpose === 'find'

/** How many requests of this purpose may be in flight: one slot is left for interactive requests. */
export const maxConcurrency = (limits: RateLimits, purpose: Purpose): number =>
  isInteractive(purpose) ? limits.concurrency : Math.max(1, limits.concurrency - 1)

const totalWeight = (spent: readonly Reservation[]): number => spent.reduce((total, one) => total + one.weight, 0)

/**
 * The reservations that still count at `now`. A request may reach the provider at any time until it has ended, and so
 * counts for a whole window after its end; then no window, wherever it begins, holds more than the budget.
 */
const activeReservations = (state: ProviderState, limits: RateLimits, now: number): Reservation[] =>
  state.spent.filter((one) => countsUntil(one, limits) >= now)

const countsUntil = (one: Reservation, limits: RateLimits): number => (one.ended ?? one.until) + limits.window

const inFlightReservations = (state: ProviderState, now: number): Reservation[] =>
  state.spent.filter((one) => one.ended === null && one.until > now)

/** The weight used at `now`, and the requests in flight. */
export const usage = (state: ProviderState, limits: RateLimits, now: number): { used: number; inFlight: number } => ({
  used: totalWeight(activeReservations(state, limits, now)),
  inFlight: inFlightReservations(state, now).length,
})

/** The state of the breaker at `now`, and until when no request is allowed; null: one is. */
export function breakerState(
  state: ProviderState,
  now: number,
): { breaker: Breaker['kind']; blockedUntil: number | null } {
  const { breaker, blocked } = state
  const isExpired = breaker.kind === 'open' && breaker.until <= now
  const until = Math.max(blocked?.until ?? 0, breaker.kind === 'open' ? breaker.until : 0)
  return { breaker: isExpired ? 'half_open' : breaker.kind, blockedUntil: until > now ? until : null }
}

/** The first time at which `weight` more stays within `maxTotal`, if nothing else is granted; 0: it does now. */
function availableAt(
  spent: readonly Reservation[],
  limits: RateLimits,
  weight: number,
  maxTotal: number,
  now: number,
): number {
  let used = totalWeight(spent) + weight
  if (used <= maxTotal) return 0
  for (const one of spent.toSorted((a, b) => countsUntil(a, limits) - countsUntil(b, limits))) {
    used -= one.weight
    if (used <= maxTotal) return countsUntil(one, limits) + 1
  }
  // More than the whole budget: never.
  return now + limits.window
}

function findRefusal(
  state: ProviderState,
  limits: RateLimits,
  now: number,
  ask: Pick<Reservation, 'call' | 'purpose' | 'weight'>,
): RateLimitRefusal | null {
  const { blocked, breaker } = state
  const open = breaker.kind === 'open' ? breaker.until : 0
  if (blocked && blocked.until > Math.max(now, open))
    return { reason: blocked.limited ? 'limited' : 'backoff', retryAt: blocked.until }
  if (open > now) return { reason: 'breaker', retryAt: open }
  if (breaker.kind === 'half_open' && breaker.call !== null && breaker.call !== ask.call && breaker.until > now)
    return { reason: 'breaker', retryAt: breaker.until }
  const spent = activeReservations(state, limits, now)
  const samePurpose = spent.filter((one) => one.purpose === ask.purpose)
  const freeAt = Math.max(
    availableAt(spent, limits, ask.weight, maxWeight(limits, ask.purpose), now),
    availableAt(samePurpose, limits, ask.weight, shareOf(limits, PURPOSE_SHARES[ask.purpose].own), now),
  )
  if (freeAt > 0) return { reason: 'window', retryAt: freeAt }
  const busy = inFlightReservations(state, now)
  // An interactive request in the slot that is left for it does not take one from the others.
  const beside = isInteractive(ask.purpose) ? busy : busy.filter((one) => !isInteractive(one.purpose))
  if (busy.length < limits.concurrency && beside.length < maxConcurrency(limits, ask.purpose)) return null
  return { reason: 'concurrency', retryAt: Math.min(...busy.map((one) => one.until)) }
}

/**
 * Reserves one request of a call. Store the returned state before sending the request, so that no crash forgets it.
 * @param ask `call` is the number of the call that the request is part of; a `weight` above the purpose's share of the
 *   budget is never granted
 * @returns the lease to settle with, or why there is none
 */
export function reserve(
  state: ProviderState,
  limits: RateLimits,
  now: number,
  ask: Pick<Reservation, 'call' | 'purpose' | 'weight'>,
): { state: ProviderState; lease: number } | { state: ProviderState; refusal: RateLimitRefusal } {
  const refusal = findRefusal(state, limits, now, ask)
  // A call that waits for a slot tries again: that does not count as refused.
  if (refusal?.reason === 'concurrency') return { state, refusal }
  if (refusal !== null) return { state: { ...state, refused: state.refused + 1 }, refusal }
  const { nextLease: lease, breaker } = state
  const until = now + limits.lease
  const spent = activeReservations(state, limits, now)
  spent.push({ lease, call: ask.call, at: now, weight: ask.weight, purpose: ask.purpose, until, ended: null })
  return {
    lease,
    state: {
      ...state,
      spent,
      nextLease: lease + 1,
      breaker: breaker.kind === 'closed' ? breaker : { kind: 'half_open', call: ask.call, until, times: breaker.times },
      lastRequestAt: now,
      requests: state.requests + 1,
    },
  }
}

/**
 * Settles a request, also one whose lease has expired: what the provider has reported still counts.
 * @param random evenly in [0, 1)
 */
export function settle(
  state: ProviderState,
  limits: RateLimits,
  lease: number,
  outcome: RequestOutcome,
  now: number,
  random: number,
): ProviderState {
  const spent = state.spent.map((one) =>
    // A request without a response may still be on its way.
    one.lease === lease ? { ...one, ended: outcome.status === null ? Math.max(now, one.until) : now } : one,
  )
  let next: ProviderState = { ...state, spent, lastStatus: outcome.status, lastError: outcome.error ?? state.lastError }
  if (outcome.reportedUsage !== null) next = applyReportedUsage(next, limits, outcome.reportedUsage, now)
  if (outcome.kind === 'answered') return next
  if (outcome.kind === 'limited') return block(next, limits, true, outcome.retryAfter, now, random)
  const call = state.spent.find((one) => one.lease === lease)?.call ?? 0
  return recordFailure(next, limits, call, outcome.retryAfter, now, random)
}

/**
 * Records how a whole call ended, once for each call, after its requests were settled.
 * @param call as it was given to `reserve`
 */
export function recordCallOutcome(
  state: ProviderState,
  limits: RateLimits,
  call: number,
  outcome: CallOutcome,
  now: number,
  random: number,
  reported: { error: string | null; retryAfter: number | null } = { error: null, retryAfter: null },
): ProviderState {
  const { breaker } = state
  const next = reported.error === null ? state : { ...state, lastError: reported.error }
  // While the breaker is not closed, only the probe counts: other calls began before.
  if (outcome === 'ok' && breaker.kind === 'closed' && state.strikes === 0) return next
  if (outcome === 'ok' && (breaker.kind === 'closed' || (breaker.kind === 'half_open' && breaker.call === call)))
    return { ...next, breaker: { kind: 'closed' }, failures: 0, strikes: 0 }
  if (outcome === 'failed') return recordFailure(next, limits, call, reported.retryAfter, now, random)
  const freed: ProviderState =
    breaker.kind === 'half_open' && breaker.call === call ? { ...next, breaker: { ...breaker, call: null } } : next
  return outcome === 'limited' ? block(freed, limits, true, reported.retryAfter, now, random) : freed
}

/** Reserves what the provider reports as used beyond our own requests: another client at our address uses it. */
function applyReportedUsage(state: ProviderState, limits: RateLimits, used: number, now: number): ProviderState {
  // Requests in flight may not be part of the report yet.
  const known = totalWeight(activeReservations(state, limits, now).filter((one) => one.ended !== null))
  if (used <= known) return { ...state, told: used }
  const weight = used - known
  const others: Reservation = { lease: 0, call: 0, weight, purpose: 'interactive', at: now, until: now, ended: now }
  return { ...state, told: used, spent: [...state.spent, others] }
}

/** The state after one more failure or refusal in a row: a pause as long as the provider asks for, or a longer backoff. */
function block(
  state: ProviderState,
  limits: RateLimits,
  limited: boolean,
  retryAfter: number | null,
  now: number,
  random: number,
): ProviderState {
  const { strikes, blocked } = state
  const backoff = Math.ceil(backoffMs(strikes, limits.backoffMin, limits.backoffMax, random))
  const until = now + Math.min(MAX_BLOCK_MS, Math.max(retryAfter ?? 0, backoff))
  const next = { ...state, strikes: strikes + 1, limited: state.limited + (limited ? 1 : 0) }
  return blocked && blocked.until >= until ? next : { ...next, blocked: { until, limited } }
}

/** The breaker after one more failure of a call. While it is not closed, only the failure of the probe counts. */
function breakerAfterFailure(
  { breaker, failures }: ProviderState,
  limits: RateLimits,
  call: number,
  now: number,
): Breaker {
  if (breaker.kind === 'open' || (breaker.kind === 'half_open' && breaker.call !== call)) return breaker
  if (breaker.kind === 'closed' && failures < limits.breakerFailures) return breaker
  const times = breaker.kind === 'closed' ? 1 : breaker.times + 1
  const longest = Math.max(limits.breakerOpen, limits.backoffMax)
  const open = Math.min(longest, limits.breakerOpen * 2 ** Math.min(times - 1, 30))
  return { kind: 'open', until: now + open, times }
}

function recordFailure(
  state: ProviderState,
  limits: RateLimits,
  call: number,
  retryAfter: number | null,
  now: number,
  random: number,
): ProviderState {
  const next = block({ ...state, failures: state.failures + 1 }, limits, false, retryAfter, now, random)
  return { ...next, breaker: breakerAfterFailure(next, limits, call, now) }
}
