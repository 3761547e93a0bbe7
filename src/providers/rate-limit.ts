/** What a request is for. When a budget is short, the later ones stop first: see SHARES. */
export type Purpose = 'look' | 'find' | 'refresh' | 'history'

/** How far one provider may be used. Weights are in the provider's own unit, times in milliseconds. */
export type RateLimits = {
  /** Weight that may fall into any stretch of `window`. */
  budget: number
  window: number
  /** Requests under way at once. */
  concurrency: number
  /** A request that has not been settled for so long is over: whoever made it is dead. Longer than its timeout. */
  lease: number
  /** Pause after a failure: doubles from the first to the last. */
  backoffMin: number
  backoffMax: number
  /** So many failures one after the other open the breaker, for so long; longer with each probe that fails. */
  breakerFailures: number
  breakerOpen: number
}

/** A request as the provider may have seen it: at any moment from `at` to `ended`. Unix milliseconds. */
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
 * `half_open` lets one call through, with all the requests that it makes, and its verdict decides. `call` is null
 * while none has come. `times` counts the openings since the provider last answered.
 */
type Breaker =
  | { kind: 'closed' }
  | { kind: 'open'; until: number; times: number }
  | { kind: 'half_open'; call: number | null; until: number; times: number }

/** All that is known of one provider's budget: a plain value that can be stored as JSON. */
export type ProviderState = {
  spent: Reservation[]
  nextLease: number
  breaker: Breaker
  /** Failures, and failures or refusals, since the provider last answered. */
  failures: number
  strikes: number
  blocked: { until: number; limited: boolean } | null
  /** What the provider last said is used. */
  told: number | null
  lastStatus: number | null
  lastError: string | null
  lastRequestAt: number | null
  /** Since `since`: requests that went out, that the budget did not let out, and that the provider refused. */
  requests: number
  refused: number
  limited: number
  since: number
}

/** How a request ended. `told` is the weight that the provider says is used, `retryAfter` milliseconds. */
export type RequestOutcome = {
  status: number | null
  told: number | null
  retryAfter: number | null
  /**
   * `answered`: something came, and whether it is of use its reader says (`judge`). `limited`: the provider wants no
   * more requests. `failed`: the provider has failed.
   */
  kind: 'answered' | 'limited' | 'failed'
  error: string | null
}

/** Of a whole call: `none` says nothing about the provider. */
export type CallOutcome = 'ok' | 'failed' | 'limited' | 'none'

export type RateLimitRefusal = {
  /** `window`, `concurrency`: our own limits. `limited`: the provider's word. `backoff`, `breaker`: it has failed. */
  reason: 'window' | 'concurrency' | 'limited' | 'backoff' | 'breaker'
  /** It is of no use to ask before; unix milliseconds. */
  retryAt: number
}

/**
 * The part of the budget up to which a purpose may go, others' use included (`all`), and of its own (`own`). What a
 * person waits for must find something left behind a refresh of a thousand assets, a refresh behind loading history;
 * and searches for names that nobody knows must not use up what the known ones need.
 */
const PURPOSE_SHARES: Readonly<Record<Purpose, { all: number; own: number }>> = {
  look: { all: 1, own: 1 },
  find: { all: 1, own: 0.25 },
  refresh: { all: 0.9, own: 1 },
  history: { all: 0.75, own: 1 },
}

/** The longest ban that is believed: Binance bans for three days at most. */
const MAX_BLOCK_MS = 3 * 86_400_000

/** A provider of which nothing is known. `now` is unix milliseconds. */
export const newProviderState = (now: number): ProviderState => ({
  spent: [],
  nextLease: 1,
  breaker: { kind: 'closed' },
  failures: 0,
  strikes: 0,
  blocked: null,
  told: null,
  lastStatus: null,
  lastError: null,
  lastRequestAt: null,
  requests: 0,
  refused: 0,
  limited: 0,
  since: now,
})

/** The most weight that all requests together may have when one of this purpose is granted. */
export const maxWeight = (limits: RateLimits, purpose: Purpose): number =>
  Math.max(1, Math.floor(limits.budget * PURPOSE_SHARES[purpose].all))

/** Whether a person waits for it. */
export const isInteractive = (purpose: Purpose): boolean => purpose === 'look' || purpose === 'find'

/** How many requests of this purpose may be under way: one is left for whom a person waits for. */
export const maxConcurrency = (limits: RateLimits, purpose: Purpose): number =>
  isInteractive(purpose) ? limits.concurrency : Math.max(1, limits.concurrency - 1)

const totalWeight = (spent: readonly Reservation[]): number => spent.reduce((total, one) => total + one.weight, 0)

/**
 * What still counts at `now`. A request may reach the provider at any moment until it has ended, so that it counts for
 * a whole window after its end; then no stretch of a window, wherever it begins, holds more than was granted together.
 */
const activeReservations = (state: ProviderState, limits: RateLimits, now: number): Reservation[] =>
  state.spent.filter((one) => countsUntil(one, limits) >= now)

const countsUntil = (one: Reservation, limits: RateLimits): number => (one.ended ?? one.until) + limits.window

const inFlightReservations = (state: ProviderState, now: number): Reservation[] =>
  state.spent.filter((one) => one.ended === null && one.until > now)

/** Weight used at `now`, and requests under way. */
export const usage = (state: ProviderState, limits: RateLimits, now: number): { used: number; inFlight: number } => ({
  used: totalWeight(activeReservations(state, limits, now)),
  inFlight: inFlightReservations(state, now).length,
})

/**
 * The breaker at `now`, and until when nothing goes out; null if something may.
 */
export function breakerState(
  state: ProviderState,
  now: number,
): { breaker: Breaker['kind']; blockedUntil: number | null } {
  const { breaker, blocked } = state
  const over = breaker.kind === 'open' && breaker.until <= now
  const until = Math.max(blocked?.until ?? 0, breaker.kind === 'open' ? breaker.until : 0)
  return { breaker: over ? 'half_open' : breaker.kind, blockedUntil: until > now ? until : null }
}

/** The first moment from which `weight` more stays within `most`, if nothing else is granted. */
function availableAt(
  spent: readonly Reservation[],
  limits: RateLimits,
  weight: number,
  most: number,
  now: number,
): number | null {
  let used = totalWeight(spent) + weight
  if (used <= most) return null
  const ends = spent.map((one) => ({ weight: one.weight, at: countsUntil(one, limits) + 1 }))
  ends.sort((a, b) => a.at - b.at)
  for (const end of ends) {
    used -= end.weight
    if (used <= most) return end.at
  }
  // More than the whole budget: never.
  return now + limits.window
}

function findRefusal(
  state: ProviderState,
  limits: RateLimits,
  now: number,
  ask: { call: number; purpose: Purpose; weight: number },
): RateLimitRefusal | null {
  const { blocked, breaker } = state
  const open = breaker.kind === 'open' ? breaker.until : 0
  if (blocked && blocked.until > Math.max(now, open))
    return { reason: blocked.limited ? 'limited' : 'backoff', retryAt: blocked.until }
  if (open > now) return { reason: 'breaker', retryAt: open }
  if (breaker.kind === 'half_open' && breaker.call !== null && breaker.call !== ask.call && breaker.until > now)
    return { reason: 'breaker', retryAt: breaker.until }
  const spent = activeReservations(state, limits, now)
  const { all, own } = PURPOSE_SHARES[ask.purpose]
  const share = (part: number) => Math.max(1, Math.floor(limits.budget * part))
  const mine = spent.filter((one) => one.purpose === ask.purpose)
  const room = Math.max(
    availableAt(spent, limits, ask.weight, share(all), now) ?? 0,
    availableAt(mine, limits, ask.weight, share(own), now) ?? 0,
  )
  if (room > 0) return { reason: 'window', retryAt: room }
  const busy = inFlightReservations(state, now)
  // The slot that is left for people takes nothing from the others when it is used: they go on beside it.
  const beside = isInteractive(ask.purpose) ? busy : busy.filter((one) => !isInteractive(one.purpose))
  if (busy.length < limits.concurrency && beside.length < maxConcurrency(limits, ask.purpose)) return null
  return { reason: 'concurrency', retryAt: Math.min(...busy.map((one) => one.until)) }
}

/**
 * Asks for leave to send one request of a call. The state that is given back is to be stored before the request goes
 * out: then no crash forgets one.
 * @param ask `call` numbers what the request is a part of (a look-up may take several); `weight` above the purpose's
 *   share of the budget is never granted
 * @returns the lease to settle with
 */
export function reserve(
  state: ProviderState,
  limits: RateLimits,
  now: number,
  ask: { call: number; purpose: Purpose; weight: number },
): { state: ProviderState; lease: number } | { state: ProviderState; refusal: RateLimitRefusal } {
  const refused = findRefusal(state, limits, now, ask)
  if (refused !== null)
    // Who waits for a slot asks again: that is no refusal yet.
    return {
      state: refused.reason === 'concurrency' ? state : { ...state, refused: state.refused + 1 },
      refusal: refused,
    }
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
 * Ends a request. One whose lease has run out is settled all the same: what the provider said still counts.
 * @param random evenly in [0, 1)
 */
export function settle(
  state: ProviderState,
  limits: RateLimits,
  lease: number,
  ending: RequestOutcome,
  now: number,
  random: number,
): ProviderState {
  const spent = state.spent.map((one) =>
    // A request that nothing came of may still be on its way.
    one.lease === lease ? { ...one, ended: ending.status === null ? Math.max(now, one.until) : now } : one,
  )
  let next: ProviderState = { ...state, spent, lastStatus: ending.status, lastError: ending.error ?? state.lastError }
  if (ending.told !== null) next = applyReportedUsage(next, limits, ending.told, now)
  if (ending.kind === 'answered') return next
  if (ending.kind === 'limited') return recordRateLimit(next, limits, ending.retryAfter, now, random)
  const call = state.spent.find((one) => one.lease === lease)?.call ?? 0
  return recordFailure(next, limits, call, ending.retryAfter, now, random)
}

/**
 * What the whole call came to, after its requests were settled; said once for each call.
 * @param call as it was given to `reserve`
 */
export function recordCallOutcome(
  state: ProviderState,
  limits: RateLimits,
  call: number,
  verdict: CallOutcome,
  now: number,
  random: number,
  told: { error: string | null; retryAfter: number | null } = { error: null, retryAfter: null },
): ProviderState {
  const { breaker } = state
  const next = told.error === null ? state : { ...state, lastError: told.error }
  // While the breaker is not closed, only the probe's word counts: others were sent before.
  if (verdict === 'ok' && breaker.kind === 'closed' && state.strikes === 0) return next
  if (verdict === 'ok' && (breaker.kind === 'closed' || (breaker.kind === 'half_open' && breaker.call === call)))
    return { ...next, breaker: { kind: 'closed' }, failures: 0, strikes: 0 }
  if (verdict === 'failed') return recordFailure(next, limits, call, told.retryAfter, now, random)
  const freed: ProviderState =
    breaker.kind === 'half_open' && breaker.call === call ? { ...next, breaker: { ...breaker, call: null } } : next
  return verdict === 'limited' ? recordRateLimit(freed, limits, told.retryAfter, now, random) : freed
}

/** If the provider says that more is used than we know of, somebody else at our address uses it too. */
function applyReportedUsage(state: ProviderState, limits: RateLimits, told: number, now: number): ProviderState {
  // Requests under way may not be in it yet: they are not held against what it says.
  const known = totalWeight(activeReservations(state, limits, now).filter((one) => one.ended !== null))
  if (told <= known) return { ...state, told }
  const others: Reservation = {
    lease: 0,
    call: 0,
    at: now,
    weight: told - known,
    purpose: 'look',
    until: now,
    ended: now,
  }
  return { ...state, told, spent: [...state.spent, others] }
}

/** Full jitter: anywhere between nothing and the pause that has doubled with each strike. */
const backoffMs = (limits: RateLimits, strikes: number, random: number): number =>
  Math.ceil(random * Math.min(limits.backoffMax, limits.backoffMin * 2 ** Math.min(strikes - 1, 30)))

function extendBlock(state: ProviderState, until: number, isLimit: boolean): ProviderState['blocked'] {
  const { blocked } = state
  return blocked && blocked.until >= until ? blocked : { until, limited: isLimit }
}

function recordRateLimit(
  state: ProviderState,
  limits: RateLimits,
  retryAfter: number | null,
  now: number,
  random: number,
): ProviderState {
  const strikes = state.strikes + 1
  const wait = Math.min(MAX_BLOCK_MS, Math.max(retryAfter ?? 0, backoffMs(limits, strikes, random)))
  return { ...state, strikes, limited: state.limited + 1, blocked: extendBlock(state, now + wait, true) }
}

function recordFailure(
  state: ProviderState,
  limits: RateLimits,
  call: number,
  retryAfter: number | null,
  now: number,
  random: number,
): ProviderState {
  const { breaker } = state
  const strikes = state.strikes + 1
  const failures = state.failures + 1
  const wait = Math.min(MAX_BLOCK_MS, Math.max(retryAfter ?? 0, backoffMs(limits, strikes, random)))
  const next = { ...state, strikes, failures, blocked: extendBlock(state, now + wait, false) }
  if (breaker.kind === 'open' || (breaker.kind === 'half_open' && breaker.call !== call)) return next
  if (breaker.kind === 'closed' && failures < limits.breakerFailures) return next
  const times = breaker.kind === 'closed' ? 1 : breaker.times + 1
  const longest = Math.max(limits.breakerOpen, limits.backoffMax)
  const open = Math.min(longest, limits.breakerOpen * 2 ** Math.min(times - 1, 30))
  return { ...next, breaker: { kind: 'open', until: now + open, times } }
}
