import { MINUTE_MS, type Random, SECOND_MS } from './random.ts'
import { STEPS, type Step } from './steps.ts'

/** All faults, by their names for `--fault`. */
export const FAULTS = [
  'socket-closed',
  'half-open',
  'frames-lost',
  'frames-repeated',
  'frames-disordered',
  'late-trade',
  'malformed',
  'rest-429',
  'rest-500',
  'rest-timeout',
  'rest-wrong',
  'rest-refused',
  'object-killed',
  'process-killed',
  'postgres-stopped',
  'postgres-slow',
  'postgres-full',
  'deploy',
  'clock-step',
  'never-read',
  'crowd',
] as const
export type FaultName = (typeof FAULTS)[number]

/** An event `at` milliseconds after the start of the market, which lasts `ms`; both are market time. */
export type FaultEvent = { at: number } & (
  | { fault: 'socket-closed'; code: number; product?: string; ms: number }
  | { fault: 'half-open'; product?: string; ms: number }
  | {
      fault: 'frames-lost' | 'frames-repeated'
      product?: string
      frames: number
      channel: 'market_trades' | 'heartbeats'
    }
  | { fault: 'frames-disordered'; product?: string; frames: number; how: 'swap' | 'shuffle' | 'delay'; ms: number }
  | { fault: 'late-trade'; how: 'frame' | 'trade'; product: string; ms: number }
  | { fault: 'malformed'; product?: string; frames: number }
  | { fault: 'rest-429' | 'rest-500' | 'rest-timeout' | 'rest-wrong'; ms: number; frames: number }
  | { fault: 'rest-refused'; answer: '429' | '500'; frames: number[] }
  | { fault: 'object-killed'; product: string; step: Step; times: number }
  | { fault: 'process-killed' | 'deploy' }
  | { fault: 'postgres-stopped' | 'postgres-slow' | 'postgres-full'; ms: number }
  | { fault: 'clock-step'; ms: number }
  | { fault: 'never-read'; product: string; viewers: number }
  | { fault: 'crowd'; product: string; viewers: number }
)

/** Input of a draw: products, the market's start (unix ms), and when faults end after it. */
type EventContext = { ids: readonly string[]; quiet: string; manual: string; start: number; end: number }

/** A random time before the faults end, one in three around the close of a minute. */
function drawMoment(draw: Random, { start, end }: EventContext): number {
  const at = draw.between(1.5 * MINUTE_MS, end - 2 * MINUTE_MS)
  if (!draw.chance(0.35)) return at
  const boundary = Math.ceil((start + at) / MINUTE_MS) * MINUTE_MS - start
  return boundary + draw.between(-2 * SECOND_MS, 18 * SECOND_MS)
}

/** Draws the events of one fault. */
export function drawEvents(fault: FaultName, draw: Random, ground: EventContext): FaultEvent[] {
  const several = (most: number, make: (at: number) => FaultEvent): FaultEvent[] =>
    Array.from({ length: draw.between(1, most + 1) }, () => make(drawMoment(draw, ground)))
  const { ids, quiet, manual } = ground
  const product = (): string | undefined => (draw.chance(0.6) ? draw.one(ids) : undefined)
  const lasting = (from: number, to: number) => draw.between(from * SECOND_MS, to * SECOND_MS)
  switch (fault) {
    case 'socket-closed':
      return several(3, (at) => ({
        at,
        fault,
        code: draw.one([1006, 1000, 1001, 1011, 1012]),
        product: product(),
        ms: draw.chance(0.5) ? lasting(5, 180) : 0,
      }))
    case 'half-open':
      return several(3, (at) => ({ at, fault, product: product(), ms: lasting(5, 120) }))
    case 'frames-lost':
    case 'frames-repeated':
      return several(5, (at) => ({
        at,
        fault,
        product: product(),
        frames: draw.between(1, 8),
        channel: draw.chance(0.85) ? 'market_trades' : 'heartbeats',
      }))
    case 'frames-disordered':
      return several(5, (at) => ({
        at,
        fault,
        product: product(),
        frames: draw.between(1, 6),
        how: draw.one(['swap', 'shuffle', 'delay']),
        ms: lasting(1, 30),
      }))
    case 'late-trade':
      return several(4, (at) => {
        const how = draw.one(['frame', 'trade'] as const)
        return { at, fault, how, product: how === 'trade' ? manual : draw.one(ids), ms: lasting(60, 300) }
      })
    case 'malformed':
      return several(4, (at) => ({ at, fault, product: product(), frames: draw.between(1, 40) }))
    case 'rest-429':
    case 'rest-500':
    case 'rest-timeout':
    case 'rest-wrong':
      return several(2, (at) => ({ at, fault, ms: lasting(20, 150), frames: draw.between(1, 4) }))
    case 'rest-refused':
      return [
        {
          at: 1.5 * MINUTE_MS,
          fault,
          answer: draw.one(['429', '500']),
          frames: Array.from({ length: draw.between(1, 4) }, () => drawMoment(draw, ground)),
        },
      ]
    case 'object-killed':
      return several(4, (at) => {
        const step = draw.one(STEPS)
        // Objects write a few times a minute, and receive messages a hundred times.
        const times = draw.between(1, /sqlite|postgres/.test(step) ? 4 : 100)
        return { at, fault, product: draw.one(ids), step, times }
      })
    case 'process-killed':
    case 'deploy':
      return several(2, (at) => ({ at, fault }))
    case 'postgres-stopped':
      return [{ at: drawMoment(draw, ground), fault, ms: lasting(10, 180) }]
    case 'postgres-slow':
    case 'postgres-full':
      return several(2, (at) => ({ at, fault, ms: lasting(20, 180) }))
    case 'clock-step':
      return several(2, (at) => ({ at, fault, ms: draw.between(-20, 21) * SECOND_MS + draw.between(0, 1000) }))
    case 'never-read':
      return [{ at: drawMoment(draw, ground), fault, product: draw.one(ids), viewers: 20 }]
    case 'crowd':
      return [{ at: drawMoment(draw, ground), fault, product: quiet, viewers: 500 }]
  }
}
