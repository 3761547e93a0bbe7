import { z } from 'zod'
import { hashText, seededRandom } from './random.ts'

const product = z.string().optional()
const frames = z.int().min(1).default(1)
/** Which messages a fault of frames falls on; snapshots and acks always pass. */
const channel = z.enum(['market_trades', 'heartbeats']).default('market_trades')
const ms = z.number().min(0)

/**
 * The faults that the exchange can simulate. Times are milliseconds of the market's clock. With `product`, only sockets
 * subscribed to it (or REST paths that name it) are hit, so that one exchange can serve several tests.
 */
export const faultSchema = z.discriminatedUnion('kind', [
  /** Closes the open sockets: 1006 cuts the connection without a word, any other code is sent. */
  z.object({ kind: z.literal('close'), code: z.int().default(1006), product }),
  /** New sockets get 503 for so long. */
  z.object({ kind: z.literal('refuse'), ms }),
  /** Half-open: the sockets that are open now get nothing for so long, and what they would have got is lost. */
  z.object({ kind: z.literal('silent'), ms, product }),
  /** The next frames are lost; their sequence numbers are used up. */
  z.object({ kind: z.literal('skip'), frames, channel, product }),
  /** The next frames come twice. */
  z.object({ kind: z.literal('repeat'), frames, channel, product }),
  /** The next frames change places with the one that follows each. */
  z.object({ kind: z.literal('swap'), frames, channel, product }),
  /** The next frames come so much later, and others overtake them. */
  z.object({ kind: z.literal('delay'), frames, channel, product, ms }),
  /** The trades of the next frames stand in a random order, and one of them twice. */
  z.object({ kind: z.literal('shuffle'), frames, product }),
  /** So many messages that are not valid, beside the good ones; `name` chooses a kind of `MALFORMED`, else all in turn. */
  z.object({ kind: z.literal('malformed'), frames, name: z.string().optional(), product }),
  /** This very text, once, beside the good ones. */
  z.object({ kind: z.literal('text'), text: z.string(), product }),
  /** The market's clock jumps by so much, forward or back; heartbeats go on as before. */
  z.object({ kind: z.literal('clock'), ms: z.number() }),
  /**
   * REST: `wrong` is 200 with a body of another shape, `hang` never answers, `late` answers `ms` later. Falls on the next
   * `times` requests whose path contains `path`; without `times`, on one, or with `forMs` on all for so long.
   */
  z.object({
    kind: z.literal('rest'),
    answer: z.enum(['429', '500', 'wrong', 'hang', 'late']),
    times: z.int().min(1).optional(),
    forMs: ms.optional(),
    ms: ms.default(1_000),
    /** Seconds, as the header of a 429. */
    retryAfter: z.int().min(0).default(1),
    path: z.string().default(''),
    product,
  }),
])
export type Fault = z.input<typeof faultSchema>
type ParsedFault = z.output<typeof faultSchema>
type FrameFault = Extract<ParsedFault, { kind: 'skip' | 'repeat' | 'swap' | 'delay' | 'shuffle' }>
export type RestFault = Extract<ParsedFault, { kind: 'rest' }>

/** How many sockets, frames or requests a fault has fallen on so far. */
export type FaultEffect = { hits: number }

/** A message on its way to one socket. `trades` only where it carries them; `text()` writes it with its number. */
export type Frame = {
  channel: 'market_trades' | 'heartbeats'
  product: string | null
  trades: object[]
  text(trades: object[]): string
}

/** The effect of faults on a frame: texts to send now, to hold until after the next frame, or to send at a time. */
export type Delivery = { text: string; when: 'now' | 'after-next' | { at: number } }

/** The faults that are waiting for their frames and requests. The seed decides every order and choice. */
export function createFaultQueue(seed: string) {
  const random = seededRandom(hashText(`${seed} faults`))
  let pending: { fault: FrameFault; effect: FaultEffect }[] = []
  let rest: { fault: RestFault; left: number; until: number; effect: FaultEffect }[] = []
  let refused: { until: number; effect: FaultEffect } = { until: 0, effect: { hits: 0 } }

  const take = (kind: FrameFault['kind'], frame: Frame): FrameFault | undefined => {
    const found = pending.find(
      ({ fault: f }) =>
        f.kind === kind &&
        (f.kind === 'shuffle' ? frame.channel === 'market_trades' : f.channel === frame.channel) &&
        (f.product === undefined || f.product === frame.product),
    )
    if (!found) return undefined
    found.effect.hits++
    found.fault.frames--
    if (found.fault.frames === 0) pending = pending.filter((other) => other !== found)
    return found.fault
  }

  const shuffled = (trades: object[]): object[] => {
    const order = trades.concat(trades.slice(0, 1))
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1))
      ;[order[i], order[j]] = [order[j] as object, order[i] as object]
    }
    return order
  }

  return {
    random,
    /** Remembers a fault that waits for frames or requests; the others act at once and are not for this place. */
    add(fault: FrameFault | RestFault | Extract<ParsedFault, { kind: 'refuse' }>, now: number): FaultEffect {
      const effect = { hits: 0 }
      if (fault.kind === 'refuse') refused = { until: Math.max(refused.until, now + fault.ms), effect }
      else if (fault.kind === 'rest')
        rest.push({
          fault,
          effect,
          left: fault.times ?? (fault.forMs === undefined ? 1 : Number.POSITIVE_INFINITY),
          until: fault.forMs === undefined ? Number.POSITIVE_INFINITY : now + fault.forMs,
        })
      else pending.push({ fault, effect })
      return effect
    },
    clear() {
      pending = []
      rest = []
      refused = { until: 0, effect: { hits: 0 } }
    },
    /** True if a new socket is refused. */
    rejectsConnection(now: number): boolean {
      if (now >= refused.until) return false
      refused.effect.hits++
      return true
    },
    /** The fault that the next REST request meets, used up by asking. */
    takeRequestFault(path: string, now: number): RestFault | undefined {
      rest = rest.filter((r) => r.left > 0 && now < r.until)
      const found = rest.find(
        ({ fault }) =>
          path.includes(fault.path) && (fault.product === undefined || path.split('/').includes(fault.product)),
      )
      if (!found) return undefined
      found.left--
      found.effect.hits++
      return found.fault
    },
    /** Applies the faults to a frame at `now`. */
    deliver(frame: Frame, now: number): Delivery[] {
      const text = frame.text(take('shuffle', frame) ? shuffled(frame.trades) : frame.trades)
      if (take('skip', frame)) return []
      const delay = take('delay', frame)
      if (delay?.kind === 'delay') return [{ text, when: { at: now + delay.ms } }]
      if (take('swap', frame)) return [{ text, when: 'after-next' }]
      const copies = take('repeat', frame) ? 2 : 1
      return Array.from({ length: copies }, () => ({ text, when: 'now' as const }))
    },
    /** Faults that still wait, for `GET /_faults`. */
    list: () => ({
      frames: pending.map(({ fault }) => fault),
      rest: rest.map(({ fault, left }) => ({ ...fault, left })),
      refusedUntil: refused.until,
    }),
  }
}

export type FaultQueue = ReturnType<typeof createFaultQueue>
