import { z } from 'zod'
import { PROVIDER_NAMES, type SimulatedProviderName } from './provider-market.ts'

const commonFields = {
  /** All of them unless given. */
  provider: z.enum(PROVIDER_NAMES).optional(),
  /** Only requests whose path contains this. */
  path: z.string().default(''),
  /** Falls on so many requests; without `times` and `forMs` on every one until cleared. */
  times: z.int().min(1).optional(),
  /** Falls on requests for so long, milliseconds. */
  forMs: z.number().min(0).optional(),
}

/** The faults that a provider can simulate. */
export const providerFaultSchema = z.discriminatedUnion('kind', [
  /** The connection is reset without an answer. */
  z.object({ kind: z.literal('down'), ...commonFields }),
  /** The true answer comes `ms` later. */
  z.object({ kind: z.literal('slow'), ms: z.number().min(0), ...commonFields }),
  /** No answer ever comes. */
  z.object({ kind: z.literal('hang'), ...commonFields }),
  /** 429 with or without `Retry-After` (seconds). */
  z.object({ kind: z.literal('429'), retryAfter: z.int().min(0).nullable().default(null), ...commonFields }),
  /** Binance's ban: 418 with `Retry-After` (seconds). */
  z.object({ kind: z.literal('418'), retryAfter: z.int().min(0).default(120), ...commonFields }),
  z.object({ kind: z.literal('500'), status: z.int().min(500).max(599).default(500), ...commonFields }),
  /**
   * 200 with a body that cannot be used: not JSON, cut off in the middle, JSON of another shape, a page of HTML, nothing,
   * or an answer without entries.
   */
  z.object({
    kind: z.literal('body'),
    body: z.enum(['text', 'cut', 'schema', 'html', 'empty', 'none']),
    ...commonFields,
  }),
  /** Yahoo: every crumb given so far is stale at once; with `cookie`, so is every cookie. */
  z.object({ kind: z.literal('crumb'), cookie: z.boolean().default(false) }),
  /**
   * Any request that holds this id is spoilt: it `breaks` (with `status`), or the id alone has a price that is no price.
   */
  z.object({
    kind: z.literal('poison'),
    id: z.string(),
    effect: z.enum(['breaks', 'NaN', 'negative', 'zero', 'text', 'missing']).default('breaks'),
    status: z.int().min(400).max(599).default(400),
    ...commonFields,
  }),
])
export type ProviderFault = z.input<typeof providerFaultSchema>
export type ParsedFault = z.output<typeof providerFaultSchema>
type ActiveFault = Exclude<ParsedFault, { kind: 'crumb' }>

/** The faults that are waiting for requests. Times are unix milliseconds. */
export function openProviderFaults() {
  let standing: { fault: ActiveFault; left: number; until: number; hits: number }[] = []

  return {
    add(fault: ActiveFault, now: number): void {
      standing.push({
        fault,
        left: fault.times ?? Number.POSITIVE_INFINITY,
        until: fault.forMs === undefined ? Number.POSITIVE_INFINITY : now + fault.forMs,
        hits: 0,
      })
    },
    /** Ends those of one provider and those of all; without a name, every one. */
    clear(provider?: SimulatedProviderName): void {
      standing = provider === undefined ? [] : standing.filter(({ fault }) => fault.provider !== provider)
    },
    /** Those that a request meets, the oldest first; each is used up by one. */
    takeMatching(provider: SimulatedProviderName, path: string, ids: readonly string[], now: number): ActiveFault[] {
      standing = standing.filter(({ left, until }) => left > 0 && now < until)
      const met = standing.filter(
        ({ fault }) =>
          (fault.provider === undefined || fault.provider === provider) &&
          path.includes(fault.path) &&
          (fault.kind !== 'poison' || ids.includes(fault.id)),
      )
      for (const one of met) {
        one.left--
        one.hits++
      }
      return met.map(({ fault }) => fault)
    },
    list: () =>
      standing.map(({ fault, left, hits }) => ({ ...fault, left: Number.isFinite(left) ? left : null, hits })),
  }
}
