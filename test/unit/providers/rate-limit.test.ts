import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  breakerState,
  newProviderState,
  type ProviderState,
  type Purpose,
  type RateLimits,
  type RequestOutcome,
  recordCallOutcome,
  reserve,
  settle,
  usage,
} from '../../../src/providers/rate-limit.ts'

const LIMITS: RateLimits = {
  budget: 10,
  window: 60_000,
  concurrency: 2,
  lease: 15_000,
  backoffMin: 1_000,
  backoffMax: 300_000,
  breakerFailures: 3,
  breakerOpen: 60_000,
}
const START = 1_800_000_000_000

const ANSWERED: RequestOutcome = { kind: 'answered', status: 200, reportedUsage: null, retryAfter: null, error: null }
const TIMED_OUT: RequestOutcome = {
  kind: 'failed',
  status: null,
  reportedUsage: null,
  retryAfter: null,
  error: 'TimeoutError',
}
const tooMany = (retryAfter: number | null): RequestOutcome => ({
  kind: 'limited',
  status: 429,
  reportedUsage: null,
  retryAfter,
  error: 'Too Many Requests',
})

/** One provider, step by step. With a `random` of 1 each pause is the longest. */
function provider(limits: RateLimits = LIMITS) {
  let state = newProviderState(START)
  let calls = 0
  const self = {
    now: START,
    random: 0.999999,
    get state(): ProviderState {
      return state
    },
    /** The lease, or why there is none. */
    ask(purpose: Purpose = 'interactive', weight = 1, call = ++calls) {
      const answer = reserve(state, limits, self.now, { call, purpose, weight })
      state = answer.state
      return 'lease' in answer
        ? { lease: answer.lease, call, refusal: null }
        : { lease: 0, call, refusal: answer.refusal }
    },
    end(lease: number, ending: RequestOutcome = ANSWERED) {
      state = settle(state, limits, lease, ending, self.now, self.random)
    },
    judge(call: number, verdict: Parameters<typeof recordCallOutcome>[3]) {
      state = recordCallOutcome(state, limits, call, verdict, self.now, self.random)
    },
    /** A whole call that ends at once. */
    call(purpose: Purpose = 'interactive', weight = 1) {
      const answer = self.ask(purpose, weight)
      if (answer.refusal) return answer.refusal
      self.end(answer.lease)
      self.judge(answer.call, 'ok')
      return null
    },
    fail() {
      const answer = self.ask()
      expect(answer.refusal).toBeNull()
      self.end(answer.lease, TIMED_OUT)
      self.judge(answer.call, 'none')
    },
    used: () => usage(state, limits, self.now).used,
    /** Past every pause, whatever the breaker. */
    pass() {
      self.now = Math.max(self.now, breakerState(state, self.now).blockedUntil ?? 0)
    },
  }
  return self
}

describe('Q4 the window', () => {
  test('Q4 a request counts from its reservation until a window after its end', () => {
    const one = provider()
    const slow = one.ask()
    one.now += 8_000
    one.end(slow.lease)
    for (let n = 1; n < 10; n++) expect(one.call()).toBeNull()
    expect(one.call()).toEqual({ reason: 'window', retryAt: one.now + 60_001 })
    one.now += 60_000
    expect(one.call()).toMatchObject({ reason: 'window' })
    one.now += 1
    expect(one.call()).toBeNull()
  })

  test('Q4 a request without a response counts as if it had arrived at the end of its lease', () => {
    const one = provider({ ...LIMITS, budget: 1, backoffMax: 1 })
    one.end(one.ask().lease, TIMED_OUT)
    one.now += 60_001
    expect(one.ask().refusal?.reason).toBe('window')
    one.now += 15_000
    expect(one.ask().refusal).toBeNull()
  })

  test('Q4 weights add up, and a weight above the budget is refused', () => {
    const one = provider()
    expect(one.call('interactive', 6)).toBeNull()
    expect(one.call('interactive', 5)).toMatchObject({ reason: 'window' })
    expect(one.call('interactive', 4)).toBeNull()
    one.now += 60_001
    expect(one.call('interactive', 11)).toMatchObject({ reason: 'window', retryAt: one.now + 60_000 })
  })

  test('Q4 a higher usage that the provider reports counts for a window', () => {
    const one = provider()
    const first = one.ask('interactive', 2)
    one.end(first.lease, { ...ANSWERED, reportedUsage: 9 })
    expect(one.used()).toBe(9)
    expect(one.state.told).toBe(9)
    expect(one.call('interactive', 2)).toMatchObject({ reason: 'window' })
    const next = one.ask('interactive', 1)
    one.end(next.lease, { ...ANSWERED, reportedUsage: 3 })
    expect(one.used()).toBe(10)
    one.now += 60_001
    expect(one.used()).toBe(0)
  })

  test('Q4 history stops first, then refreshes, and lookups may use the whole budget', () => {
    const one = provider()
    for (let n = 0; n < 7; n++) expect(one.call('history')).toBeNull()
    expect(one.call('history')).toMatchObject({ reason: 'window' })
    for (let n = 0; n < 2; n++) expect(one.call('refresh')).toBeNull()
    expect(one.call('refresh')).toMatchObject({ reason: 'window' })
    expect(one.call('interactive')).toBeNull()
  })

  test('Q4 searches have a quarter of the budget', () => {
    const one = provider()
    for (let n = 0; n < 2; n++) expect(one.call('find')).toBeNull()
    expect(one.call('find')).toMatchObject({ reason: 'window' })
    expect(one.call('interactive')).toBeNull()
  })

  test('Q4 each purpose has at least one request', () => {
    for (const purpose of ['interactive', 'find', 'refresh', 'history'] as const)
      expect(provider({ ...LIMITS, budget: 1, concurrency: 1 }).call(purpose)).toBeNull()
  })
})

describe('Q4 concurrency', () => {
  test('Q4 a slot is left for interactive requests', () => {
    const one = provider()
    const refresh = one.ask('refresh')
    expect(one.ask('refresh').refusal).toEqual({ reason: 'concurrency', retryAt: one.now + 15_000 })
    expect(one.ask('interactive').refusal).toBeNull()
    expect(one.ask('interactive').refusal?.reason).toBe('concurrency')
    one.end(refresh.lease)
    expect(one.ask('interactive').refusal).toBeNull()
  })

  test('Q4 the pages of a history continue beside lookups', () => {
    const one = provider()
    const page = one.ask('history')
    one.end(page.lease)
    expect(one.ask('interactive').refusal).toBeNull()
    expect(one.ask('history', 1, page.call).refusal).toBeNull()
    expect(one.ask('refresh').refusal?.reason).toBe('concurrency')
  })

  test('Q4 the leases of a dead object expire, and its requests still count', () => {
    const one = provider()
    one.ask()
    one.ask()
    one.now += 14_999
    expect(one.ask().refusal).toEqual({ reason: 'concurrency', retryAt: one.now + 1 })
    one.now += 1
    expect(one.ask().refusal).toBeNull()
    expect(one.used()).toBe(3)
  })
})

describe('Q4 pauses', () => {
  test('Q4 Retry-After blocks all requests, also of calls that began before', () => {
    const one = provider()
    const [first, second] = [one.ask(), one.ask()]
    one.end(first.lease, tooMany(30_000))
    one.judge(first.call, 'none')
    one.end(second.lease)
    one.judge(second.call, 'ok')
    expect(one.call()).toEqual({ reason: 'limited', retryAt: START + 30_000 })
    one.now = START + 29_999
    expect(one.call()).toMatchObject({ reason: 'limited' })
    one.now = START + 30_000
    expect(one.call()).toBeNull()
  })

  test('Q4 a shorter block does not end a longer one', () => {
    const one = provider()
    const [first, second] = [one.ask(), one.ask()]
    one.end(first.lease, tooMany(120_000))
    one.end(second.lease, tooMany(1_000))
    expect(breakerState(one.state, one.now).blockedUntil).toBe(START + 120_000)
  })

  test('Q4 without Retry-After the pause doubles up to the cap, with full jitter, until a response', () => {
    const one = provider({ ...LIMITS, budget: 1_000 })
    const pauses: number[] = []
    for (let n = 0; n < 12; n++) {
      one.end(one.ask().lease, tooMany(null))
      pauses.push((breakerState(one.state, one.now).blockedUntil ?? one.now) - one.now)
      one.pass()
    }
    expect(pauses.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000])
    expect(pauses.at(-1)).toBe(300_000)
    expect(breakerState(one.state, one.now).breaker).toBe('closed')
    one.call()
    one.random = 0
    one.end(one.ask().lease, tooMany(null))
    expect(breakerState(one.state, one.now).blockedUntil).toBeNull()
    one.random = 0.5
    one.end(one.ask().lease, tooMany(null))
    expect(breakerState(one.state, one.now).blockedUntil).toBe(one.now + 1_000)
  })

  test('Q4 no block is longer than three days', () => {
    const one = provider()
    one.end(one.ask().lease, tooMany(1e15))
    expect(breakerState(one.state, one.now).blockedUntil).toBe(START + 3 * 86_400_000)
  })
})

describe('Q4 the breaker', () => {
  const opened = () => {
    const one = provider({ ...LIMITS, budget: 1_000 })
    for (let n = 0; n < 3; n++) {
      one.pass()
      one.fail()
    }
    return one
  }

  test('Q4 the breaker opens after a number of failures in a row, and a response resets their count', () => {
    const one = provider({ ...LIMITS, budget: 1_000 })
    for (const step of ['fail', 'fail', 'call', 'fail', 'fail'] as const) {
      one.pass()
      one[step]()
    }
    expect(breakerState(one.state, one.now).breaker).toBe('closed')
    one.pass()
    one.fail()
    expect(breakerState(one.state, one.now)).toEqual({ breaker: 'open', blockedUntil: one.now + 60_000 })
    expect(one.call()).toEqual({ reason: 'breaker', retryAt: one.now + 60_000 })
  })

  test('Q4 the breaker is half open after its time, lets one call through, and is closed by its success', () => {
    const one = opened()
    one.pass()
    expect(breakerState(one.state, one.now).breaker).toBe('half_open')
    const cookie = one.ask()
    expect(cookie.refusal).toBeNull()
    expect(one.ask().refusal?.reason).toBe('breaker')
    one.end(cookie.lease)
    expect(one.ask().refusal?.reason).toBe('breaker')
    const crumb = one.ask('interactive', 1, cookie.call)
    expect(crumb.refusal).toBeNull()
    one.end(crumb.lease)
    one.judge(cookie.call, 'ok')
    expect(breakerState(one.state, one.now).breaker).toBe('closed')
    expect(one.call()).toBeNull()
  })

  test('Q4 the breaker opens again for longer when the probe fails, up to a cap', () => {
    const one = opened()
    const times: number[] = []
    for (let n = 0; n < 5; n++) {
      one.pass()
      one.fail()
      const { breaker } = one.state
      times.push(breaker.kind === 'open' ? breaker.until - one.now : 0)
    }
    expect(times).toEqual([120_000, 240_000, 300_000, 300_000, 300_000])
  })

  test('Q4 neither success nor failure of an earlier call changes an open breaker', () => {
    const one = provider({ ...LIMITS, budget: 1_000, breakerFailures: 1, concurrency: 5 })
    const [failing, good, bad] = [one.ask(), one.ask(), one.ask()]
    one.end(failing.lease, TIMED_OUT)
    one.end(good.lease)
    one.judge(good.call, 'ok')
    expect(breakerState(one.state, one.now).breaker).toBe('open')
    one.pass()
    const probe = one.ask()
    one.random = 0
    one.end(bad.lease, TIMED_OUT)
    expect(breakerState(one.state, one.now).breaker).toBe('half_open')
    one.end(probe.lease)
    one.judge(probe.call, 'ok')
    expect(breakerState(one.state, one.now).breaker).toBe('closed')
  })

  test('Q4 the probe of a dead object does not leave the breaker half open', () => {
    const one = opened()
    one.pass()
    one.ask()
    one.now += 15_000
    expect(one.ask().refusal).toBeNull()
  })

  test('Q4 a probe without an outcome is followed by another one', () => {
    const one = opened()
    one.pass()
    const probe = one.ask()
    one.end(probe.lease)
    one.judge(probe.call, 'none')
    expect(one.call()).toBeNull()
    expect(breakerState(one.state, one.now).breaker).toBe('closed')
  })
})

type Step =
  | { kind: 'ask'; purpose: Purpose; weight: number; sameCall: boolean }
  | { kind: 'end'; which: number; ending: RequestOutcome; verdict: 'ok' | 'failed' | 'limited' | 'none' }
  | { kind: 'wait'; ms: number }

const limitsArbitrary = fc.record({
  budget: fc.integer({ min: 1, max: 12 }),
  window: fc.constant(60_000),
  concurrency: fc.integer({ min: 1, max: 4 }),
  lease: fc.constant(15_000),
  backoffMin: fc.integer({ min: 1, max: 2_000 }),
  backoffMax: fc.integer({ min: 2_000, max: 300_000 }),
  breakerFailures: fc.integer({ min: 1, max: 4 }),
  breakerOpen: fc.integer({ min: 1, max: 90_000 }),
})
const endingArbitrary: fc.Arbitrary<RequestOutcome> = fc.record({
  kind: fc.constantFrom('answered', 'answered', 'answered', 'limited', 'failed'),
  status: fc.option(fc.constantFrom(200, 404, 429, 500)),
  reportedUsage: fc.option(fc.integer({ min: 0, max: 15 }), { freq: 4 }),
  retryAfter: fc.option(fc.integer({ min: 0, max: 100_000 })),
  error: fc.constant(null),
})
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('ask' as const),
      purpose: fc.constantFrom<Purpose>('interactive', 'find', 'refresh', 'history'),
      weight: fc.integer({ min: 1, max: 4 }),
      sameCall: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('end' as const),
      which: fc.nat(10),
      ending: endingArbitrary,
      verdict: fc.constantFrom('ok', 'ok', 'failed', 'limited', 'none'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.oneof(fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 0, max: 70_000 })),
    }),
  },
)

test('Q4 in any sequence of events no window exceeds the budget, slots and probes hold, and requests continue', () => {
  fc.assert(
    fc.property(
      limitsArbitrary,
      fc.array(stepArbitrary, { maxLength: 120 }),
      fc.func(fc.double({ min: 0, max: 0.999, noNaN: true })),
      (limits, steps, chance) => {
        let state = newProviderState(START)
        let now = START
        let call = 0
        type Sent = { lease: number; call: number; weight: number; at: number; until: number; latest: number | null }
        const sent: Sent[] = []
        const open = () => sent.filter((one) => one.latest === null)
        const expire = () => {
          // An expired lease is never settled: its object is dead.
          for (const one of open()) if (one.until <= now) one.latest = one.until
        }
        steps.forEach((step, index) => {
          if (step.kind === 'wait') {
            now += step.ms
            expire()
          } else if (step.kind === 'ask') {
            if (!step.sameCall) call++
            const before = state
            const answer = reserve(state, limits, now, { call, purpose: step.purpose, weight: step.weight })
            state = answer.state
            if ('refusal' in answer) expect(answer.refusal.retryAt).toBeGreaterThan(now)
            else {
              sent.push({
                lease: answer.lease,
                call,
                weight: step.weight,
                at: now,
                until: now + limits.lease,
                latest: null,
              })
              expect(open().length).toBeLessThanOrEqual(limits.concurrency)
              expect(breakerState(before, now).breaker).not.toBe('open')
              if (breakerState(before, now).breaker === 'half_open')
                // Of the probes of this half-open time, all that are under way are of one call.
                expect(state.breaker).toMatchObject({ kind: 'half_open', call })
            }
          } else {
            const one = open()[step.which % Math.max(1, open().length)]
            if (!one) return
            state = settle(state, limits, one.lease, step.ending, now, chance(index))
            // With a response, the request has arrived by now. Without one, it may still arrive until its lease expires.
            one.latest = step.ending.status === null ? one.until : now
            state = recordCallOutcome(
              state,
              limits,
              one.call,
              step.ending.kind === 'answered' ? step.verdict : 'none',
              now,
              chance(index),
            )
          }
        })
        for (const one of open()) one.latest = one.until
        // Each request arrives at some moment between its grant and its end. A window is worst where it ends with a grant
        // and begins a window before it: who may have arrived in it counts.
        for (const last of sent) {
          const from = last.at - limits.window
          const inside = sent.filter(
            (one) => one.at <= last.at && (one.latest as number) >= from && one.lease <= last.lease,
          )
          expect(inside.reduce((sum, one) => sum + one.weight, 0)).toBeLessThanOrEqual(limits.budget)
        }
        // A caller that retries at `retryAt` is granted a request in the end.
        for (let tries = 0; ; tries++) {
          expect(tries).toBeLessThan(8)
          const answer = reserve(state, limits, now, { call: call + 1, purpose: 'interactive', weight: 1 })
          if ('lease' in answer) break
          now = answer.refusal.retryAt
        }
        // And it is a value that a row can hold.
        expect(JSON.parse(JSON.stringify(state))).toEqual(state)
      },
    ),
    { numRuns: 1_500 },
  )
})
