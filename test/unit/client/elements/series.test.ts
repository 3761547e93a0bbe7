import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  applySnapshot,
  type Bar,
  countDecimals,
  mergeBars,
  prependBars,
  priceDigits,
  replaceGaps,
  type Series,
  summarizeCoverage,
  timeSlots,
} from '../../../../src/client/elements/series.ts'

const bar = (t: number, more: Partial<Bar> = {}): Bar => ({
  t,
  o: 1,
  h: 1,
  l: 1,
  c: 1,
  v: 1,
  coverage: 'full',
  complete: true,
  rev: 0,
  ...more,
})
const series = (...times: number[]): Series => ({ bars: times.map((t) => bar(t)), gaps: [] })
const times = ({ bars }: Series) => bars.map(({ t }) => t)

test('C11 a bar replaces the one with the same start, a later bar is appended, and the change names it', () => {
  const { series: next, change } = mergeBars(series(60, 120), [bar(120, { c: 2 }), bar(180)])
  expect(times(next)).toEqual([60, 120, 180])
  expect(next.bars[1]!.c).toBe(2)
  expect(change).toEqual({
    kind: 'bars',
    bars: [
      { bar: bar(120, { c: 2 }), older: false },
      { bar: bar(180), older: false },
    ],
  })
})

test('C6 a revised older bar is replaced in place and marked as older', () => {
  const { series: next, change } = mergeBars(series(60, 120, 180), [bar(60, { c: 3, rev: 1 })])
  expect(times(next)).toEqual([60, 120, 180])
  expect(change).toEqual({ kind: 'bars', bars: [{ bar: bar(60, { c: 3, rev: 1 }), older: true }] })
})

test('C6 a lower revision and a repeated bar change nothing', () => {
  const known: Series = { bars: [bar(60, { rev: 2, c: 5 })], gaps: [] }
  expect(mergeBars(known, [bar(60, { rev: 1, c: 9 })]).change).toEqual({ kind: 'none' })
  expect(mergeBars(known, [bar(60, { rev: 2, c: 5 })]).change).toEqual({ kind: 'none' })
})

test('C11 a bar between two others is inserted, and the whole chart is redrawn', () => {
  const { series: next, change } = mergeBars(series(60, 180), [bar(120)])
  expect(times(next)).toEqual([60, 120, 180])
  expect(change).toEqual({ kind: 'all' })
})

test('C11 a bar before the loaded history is ignored', () => {
  expect(mergeBars(series(120, 180), [bar(60)])).toEqual({ series: series(120, 180), change: { kind: 'none' } })
})

test('C11 for any bars the starts ascend without duplicates, and the changes rebuild the series', () => {
  const some = fc.array(
    fc.record({ t: fc.integer({ min: 1, max: 30 }).map((n) => n * 60), c: fc.integer(), rev: fc.nat(3) }),
  )
  fc.assert(
    fc.property(fc.array(some), (frames) => {
      let known: Series = series(600)
      let chart: Bar[] = [...known.bars]
      for (const frame of frames) {
        const { series: next, change } = mergeBars(
          known,
          frame.map(({ t, c, rev }) => bar(t, { c, rev })),
        )
        if (change.kind === 'all') chart = [...next.bars]
        else if (change.kind === 'bars')
          for (const { bar: moved, older } of change.bars) {
            const index = chart.findIndex(({ t }) => t === moved.t)
            // What lightweight-charts allows: an older bar must be there, any other is the last one or follows it.
            if (older) expect(index).toBeGreaterThanOrEqual(0)
            else expect(moved.t).toBeGreaterThanOrEqual(chart.at(-1)!.t)
            if (index >= 0) chart[index] = moved
            else chart.push(moved)
          }
        known = next
      }
      expect(chart).toEqual(known.bars)
      expect(times(known)).toEqual([...new Set(times(known))].sort((a, b) => a - b))
    }),
  )
})

test('D2 a snapshot replaces the bars that it spans and leaves earlier ones', () => {
  const known: Series = { bars: [bar(60), bar(120), bar(180)], gaps: [[30, 200]] }
  const snapshot: Series = { bars: [bar(120, { c: 7 }), bar(240)], gaps: [[240, 250]] }
  expect(applySnapshot(known, snapshot, 60)).toEqual({
    bars: [bar(60), bar(120, { c: 7 }), bar(240)],
    gaps: [
      [30, 120],
      [240, 250],
    ],
  })
})

test('D2 a snapshot that begins after the last bar requires a fetch of history', () => {
  expect(applySnapshot(series(60), { bars: [bar(600)], gaps: [] }, 60)).toBeNull()
  expect(applySnapshot(series(60), { bars: [], gaps: [] }, 60)).toBeNull()
  expect(applySnapshot(series(60), { bars: [bar(120)], gaps: [] }, 60)).not.toBeNull()
})

test('C11 older history is prepended and never replaces a bar', () => {
  const older: Series = { bars: [bar(60), bar(120, { c: 9 })], gaps: [[0, 60]] }
  expect(prependBars(series(120, 180), older)).toEqual({ bars: [bar(60), bar(120), bar(180)], gaps: [[0, 60]] })
})

test('C8 an interval without a bar is an empty slot inside a gap, and no slot elsewhere', () => {
  const known: Series = { bars: [bar(60), bar(300), bar(420)], gaps: [[130, 290]] }
  expect(timeSlots(known, 60).map(({ t, bar: b }) => [t, b !== null])).toEqual([
    [60, true],
    [120, false],
    [180, false],
    [240, false],
    [300, true],
    [420, true],
  ])
})

test('C8 no empty slot follows the last bar, and a long gap has few slots', () => {
  expect(timeSlots({ bars: [bar(60)], gaps: [[60, 6_000]] }, 60)).toHaveLength(1)
  expect(timeSlots({ bars: [bar(60), bar(60_000)], gaps: [[60, 60_000]] }, 60).length).toBeLessThan(40)
})

test('C8 the coverage of the visible bars is counted, with the gaps that touch them', () => {
  const known: Series = {
    bars: [bar(60), bar(120, { coverage: 'partial' }), bar(180, { coverage: 'gap' }), bar(240)],
    gaps: [
      [0, 10],
      [185, 200],
    ],
  }
  expect(summarizeCoverage(known, 120, 240, 60)).toEqual({ full: 1, partial: 1, gap: 1, gaps: [[185, 200]] })
})

test('C3 prices are displayed with as many decimals as the exchange writes', () => {
  expect([countDecimals(42_000), countDecimals(0.5), countDecimals(1e-7), countDecimals(1.25e-7)]).toEqual([0, 1, 7, 9])
  expect(priceDigits([bar(0, { o: 1.5, c: 0.00001234 })])).toBe(8)
})

test('C8 new gaps replace the gaps of their time and leave older ones', () => {
  const series: Series = {
    bars: [bar(60), bar(600)],
    gaps: [
      [0, 120],
      [300, 500],
    ],
  }
  expect(replaceGaps(series, 200, []).gaps).toEqual([[0, 120]])
  expect(replaceGaps(series, 60, [[400, 460]]).gaps).toEqual([
    [0, 60],
    [400, 460],
  ])
  expect(replaceGaps(series, 200, []).bars).toBe(series.bars)
})
