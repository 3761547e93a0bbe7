import { describe, expect, test } from 'vitest'
import { dueAssets, marketProbes, type RefreshCandidate } from '../../../src/pricing/due.ts'
import { DEFAULT_REFRESH_SETTINGS } from '../../../src/pricing/refresh-settings.ts'

const AT = 1_700_000_000_000
const settings = DEFAULT_REFRESH_SETTINGS

const candidate = (given: Partial<RefreshCandidate>): RefreshCandidate => ({
  asset_id: 1,
  interval: 60,
  triedAt: AT,
  failed: false,
  retryAt: null,
  market: null,
  market_state: 'open',
  ...given,
})

/** The numbers of those that are due so many seconds after AT. */
const due = (assets: RefreshCandidate[], seconds: number, opened: [string, number][] = []) =>
  dueAssets(assets, AT + seconds * 1_000, new Map(opened), settings).map(({ asset_id }) => asset_id)

describe('Q2 dueAssets', () => {
  test('Q2 an asset is due at its interval after the last attempt, to the millisecond, and at once without an attempt', () => {
    const assets = [candidate({}), candidate({ asset_id: 2, interval: 15 }), candidate({ asset_id: 3, triedAt: null })]
    expect(due(assets, 14.999)).toEqual([3])
    expect(due(assets, 15)).toEqual([2, 3])
    expect(due(assets, 60)).toEqual([1, 2, 3])
    expect(dueAssets(assets, AT + 61_000, new Map(), settings).map(({ lagMs: lag }) => lag)).toEqual([1_000, 46_000, 0])
  })

  test('Q2 an asset that failed is due when the provider allows it, else after its interval', () => {
    const assets = [
      candidate({ failed: true, retryAt: AT + 5_000 }),
      candidate({ asset_id: 2, failed: true, retryAt: AT + 500_000 }),
      candidate({ asset_id: 3, failed: true }),
    ]
    expect(due(assets, 4)).toEqual([])
    expect(due(assets, 60)).toEqual([1, 3])
    expect(due(assets, 500)).toEqual([1, 2, 3])
  })
})

describe('a closed market', () => {
  const closed = (asset_id: number, given: Partial<RefreshCandidate> = {}) =>
    candidate({ asset_id, interval: 15, market: 'NMS', market_state: 'closed', ...given })

  test('a closed market has one probe a minute, and its other assets wait for closed_refresh_seconds', () => {
    const assets = [closed(1), closed(2), closed(3)]
    expect(due(assets, 59)).toEqual([])
    expect(due(assets, 60)).toEqual([1])
    expect(due(assets, 900)).toEqual([1, 2, 3])
  })

  test('the probe of a market is its asset with the shortest interval and the smallest id that does not fail', () => {
    const assets = [
      closed(1, { interval: 300 }),
      closed(2, { failed: true }),
      closed(3),
      closed(4),
      closed(5, { market: 'LSE', interval: 300 }),
      candidate({ asset_id: 6, market: 'PAR' }),
    ]
    expect(marketProbes(assets)).toEqual(
      new Map([
        ['NMS', 3],
        ['LSE', 5],
      ]),
    )
    expect(due(assets, 300)).toContain(5)
    expect(marketProbes([closed(2, { failed: true })])).toEqual(new Map([['NMS', 2]]))
  })

  test('an interval longer than closed_refresh_seconds is unchanged in a closed market', () => {
    expect(due([closed(1), closed(2, { interval: 1_000 })], 999)).toEqual([1])
  })

  test('all assets of a market are due once when its probe has detected the opening', () => {
    const assets = [closed(1, { market_state: 'open' }), closed(2), closed(3, { triedAt: AT + 2_000 })]
    expect(due(assets, 3, [['NMS', AT + 1_000]])).toEqual([2])
    expect(due(assets, 3, [['LSE', AT + 1_000]])).toEqual([])
  })

  test('a closed market changes nothing for assets of a market that never closes', () => {
    expect(due([candidate({ market_state: 'closed', market: null, interval: 15 })], 15)).toEqual([1])
  })
})
