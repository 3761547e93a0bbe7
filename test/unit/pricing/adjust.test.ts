import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { adjustBars, hashActions } from '../../../src/pricing/adjust.ts'
import type { CorporateAction, PriceBar } from '../../../src/protocol/price-history.ts'

const bar = (date: string, close: string, change: Partial<PriceBar> = {}): PriceBar => ({
  date,
  open: close,
  high: close,
  low: close,
  close,
  volume: '100',
  is_complete: true,
  ...change,
})
const split = (ex_date: string, numerator: string, denominator = '1'): CorporateAction => {
  return { kind: 'split', ex_date, numerator, denominator }
}
const dividend = (ex_date: string, amount: string, reference_close: string | null): CorporateAction => {
  return { kind: 'dividend', ex_date, amount, reference_close }
}
const closes = (bars: readonly PriceBar[]) => bars.map(({ close }) => close)
const volumes = (bars: readonly PriceBar[]) => bars.map(({ volume }) => volume)

describe('adjustBars', () => {
  const bars = [bar('2020-08-27', '500.04'), bar('2020-08-28', '499.23'), bar('2020-08-31', '129.04')]
  const actions = [split('2020-08-31', '4')]

  test('the raw basis returns the same bars', () => {
    expect(adjustBars(bars, actions, 'raw', 'ONE_DAY')).toBe(bars)
  })

  test('Q7 a split converts earlier prices to later shares, and volumes inversely', () => {
    const adjusted = adjustBars(bars, actions, 'split', 'ONE_DAY')
    expect(closes(adjusted)).toEqual(['125.01', '124.8075', '129.04'])
    expect(volumes(adjusted)).toEqual(['400', '400', '100'])
    expect(bars[0]!.close).toBe('500.04')
  })

  test('reverse splits and successive splits multiply', () => {
    expect(
      closes(adjustBars([bar('2020-01-01', '0.5')], [split('2020-01-02', '1', '20')], 'split', 'ONE_DAY')),
    ).toEqual(['10'])
    const twice = [split('2020-01-02', '3', '2'), split('2020-01-03', '2')]
    const adjusted = adjustBars([bar('2020-01-01', '9')], twice, 'split', 'ONE_DAY')
    expect([adjusted[0]!.close, adjusted[0]!.volume]).toEqual(['3', '300'])
  })

  test('a dividend changes the adjusted basis alone, by 1 - amount / close of the day before', () => {
    const paid = [dividend('2020-08-28', '50.004', '500.04'), ...actions]
    expect(closes(adjustBars(bars, paid, 'split', 'ONE_DAY'))).toEqual(['125.01', '124.8075', '129.04'])
    const adjusted = adjustBars(bars, paid, 'adjusted', 'ONE_DAY')
    expect(closes(adjusted)).toEqual(['112.509', '124.8075', '129.04'])
    expect(volumes(adjusted)).toEqual(['400', '400', '100'])
  })

  test('a dividend on the day of a split is per share of after', () => {
    // 100 before 2:1 is 50 after, of which 5 is a tenth.
    const both = [dividend('2020-01-02', '5', '100'), split('2020-01-02', '2')]
    expect(closes(adjustBars([bar('2020-01-01', '100')], both, 'adjusted', 'ONE_DAY'))).toEqual(['45'])
  })

  test('a dividend without a reference close above it changes nothing', () => {
    for (const none of [dividend('2020-08-28', '1', null), dividend('2020-08-28', '2', '2')])
      expect(closes(adjustBars(bars, [none], 'adjusted', 'ONE_DAY'))).toEqual(closes(bars))
  })

  test('a bar of a week or month has the shares of its end: only later actions change it', () => {
    // Monday the 31st: in the next week, in the same month.
    const week = bar('2020-08-24', '400')
    const month = bar('2020-08-01', '400')
    expect(closes(adjustBars([week], actions, 'split', 'ONE_WEEK'))).toEqual(['100'])
    expect(closes(adjustBars([month], actions, 'split', 'ONE_MONTH'))).toEqual(['400'])
    expect(closes(adjustBars([month], [split('2020-09-01', '4')], 'split', 'ONE_MONTH'))).toEqual(['100'])
    // Sunday the 30th is the week's last day.
    expect(closes(adjustBars([week], [split('2020-08-30', '4')], 'split', 'ONE_WEEK'))).toEqual(['400'])
  })

  test('a bar of minutes is adjusted by its day, and an unknown volume stays unknown', () => {
    const minutes = [bar('2020-08-30T23:55:00Z', '4', { volume: null }), bar('2020-08-31T00:00:00Z', '4')]
    const adjusted = adjustBars(minutes, actions, 'split', 'FIVE_MINUTES')
    expect(closes(adjusted)).toEqual(['1', '4'])
    expect(volumes(adjusted)).toEqual([null, '100'])
  })

  test('a quotient that ends is exact, and others are rounded to ten digits', () => {
    const by = (close: string, numerator: string, denominator?: string) =>
      closes(
        adjustBars([bar('2020-01-01', close)], [split('2020-01-02', numerator, denominator)], 'split', 'ONE_DAY'),
      )[0]
    expect(by('645.57', '7')).toBe('92.2242857143')
    expect(by('0.000012345', '7')).toBe('0.000001763571429')
    expect(by('0.000000000000000001', '1024')).toBe('0.0000000000000000000009765625')
    expect(by('1', '3', '3')).toBe('1')
    expect(by('-37.63', '4')).toBe('-9.4075')
    expect(by('-2', '3')).toBe('-0.6666666667')
    expect(by('20', '3')).toBe('6.6666666667')
    expect(by('12345678901234567890.5', '2')).toBe('6172839450617283945.25')
  })
})

describe('properties', () => {
  const days = Array.from({ length: 30 }, (_, n) => new Date(Date.UTC(2020, 0, 1 + n)).toISOString().slice(0, 10))
  const decimal = fc.tuple(fc.bigInt(1n, 10n ** 12n), fc.integer({ min: 0, max: 6 })).map(([units, scale]) => {
    const digits = units.toString().padStart(scale + 1, '0')
    return scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`
  })
  /** Ratios whose quotients end. */
  const ending = fc.tuple(fc.constantFrom('1', '2', '4', '5', '10', '20'), fc.constantFrom('1', '2', '4', '5', '8'))
  const splits = fc
    .uniqueArray(fc.tuple(fc.constantFrom(...days.slice(1)), ending), { maxLength: 4, selector: ([day]) => day })
    .map((list) => list.sort(([a], [b]) => (a < b ? -1 : 1)).map(([day, [n, d]]) => split(day, n, d)))
  const series = fc.array(decimal, { minLength: 30, maxLength: 30 }).map((all) => all.map((c, n) => bar(days[n]!, c)))
  const scaled = (text: string): bigint => {
    const [whole = '', fraction = ''] = text.split('.')
    return BigInt(whole + fraction.padEnd(60, '0'))
  }

  test('Q7 on the split basis an overnight change is the change in the shares of the later day', () => {
    fc.assert(
      fc.property(series, splits, (bars, actions) => {
        const adjusted = adjustBars(bars, actions, 'split', 'ONE_DAY')
        for (let n = 1; n < bars.length; n++) {
          const now = actions.find(({ ex_date }) => ex_date === bars[n]!.date)
          const [oldShares, newShares] = now?.kind === 'split' ? [now.denominator, now.numerator] : ['1', '1']
          // close / (close before x oldShares / newShares), cross-multiplied: no division, no rounding.
          expect(scaled(adjusted[n]!.close) * scaled(bars[n - 1]!.close) * BigInt(oldShares)).toBe(
            scaled(bars[n]!.close) * scaled(adjusted[n - 1]!.close) * BigInt(newShares),
          )
        }
        expect(adjusted.at(-1)).toEqual(bars.at(-1))
      }),
    )
  })

  test('the traded value is equal on both bases', () => {
    fc.assert(
      fc.property(series, splits, (bars, actions) => {
        for (const [n, b] of adjustBars(bars, actions, 'split', 'ONE_DAY').entries())
          expect(scaled(b.close) * scaled(b.volume!)).toBe(scaled(bars[n]!.close) * scaled(bars[n]!.volume!))
      }),
    )
  })

  test('rounding keeps low, open, close and high in order', () => {
    const any = fc.tuple(decimal, decimal, decimal).map((three) => three.sort((a, b) => Number(a) - Number(b)))
    const paid = fc.array(fc.tuple(fc.integer({ min: 1, max: 999 }), fc.constantFrom(...days.slice(1))), {
      maxLength: 8,
    })
    fc.assert(
      fc.property(any, paid, ([low, close, high], list) => {
        const actions = list
          .map(([amount, day]) => dividend(day, `${amount}`, '1001'))
          .sort((a, b) => (a.ex_date < b.ex_date ? -1 : 1))
        const [b] = adjustBars([bar(days[0]!, close!, { low: low!, high: high! })], actions, 'adjusted', 'ONE_DAY')
        expect(scaled(b!.low) <= scaled(b!.close) && scaled(b!.close) <= scaled(b!.high)).toBe(true)
      }),
    )
  })
})

describe('against a factor file', () => {
  const file = (name: string) => readFileSync(join(import.meta.dirname, '../../fixtures/daily', name))
  const day = (text: string) => `${text.slice(0, 4)}-${text.slice(4, 6)}-${text.slice(6, 8)}`
  const dollars = (text: string) => {
    const digits = text.padStart(5, '0')
    return `${digits.slice(0, -4)}.${digits.slice(-4)}`
  }

  /** Days, and the factors with the last day that each holds for. */
  function recorded(symbol: string) {
    const bars = gunzipSync(file(`lean-${symbol}-daily-raw-x10000.csv.gz`))
      .toString()
      .trim()
      .split('\n')
      .map((line): PriceBar => {
        const [date = '', open = '', high = '', low = '', close = '', volume = ''] = line.split(',')
        return bar(day(date), dollars(close), {
          open: dollars(open),
          high: dollars(high),
          low: dollars(low),
          volume,
        })
      })
    const factors = file(`lean-${symbol}-factor-file.csv`)
      .toString()
      .trim()
      .split('\n')
      .map((line) => {
        const [until = '', price = '', shares = '', reference = ''] = line.split(',')
        return { until: day(until), price: Number(price), shares: Number(shares), reference }
      })
    return { bars, factors }
  }

  /**
   * The splits, and the dividends that the price factors imply: each row applies up to its day, the next trading day is
   * the ex-date. Amounts are cut to twelve decimals, far beyond the precision of a factor's seven digits.
   */
  function actionsOf({ bars, factors }: ReturnType<typeof recorded>): CorporateAction[] {
    return factors.flatMap((row, n): CorporateAction[] => {
      const next = factors[n + 1]
      const ex = bars.find(({ date }) => date > row.until)?.date
      const reference = bars.findLast(({ date }) => date <= row.until)?.close
      if (!next || !ex || !reference) return []
      const by = Math.round((next.shares / row.shares) * 1_000) / 1_000
      const ratio = row.price / next.price
      return [
        ...(ratio !== 1 ? [dividend(ex, (Number(reference) * (1 - ratio)).toFixed(12), reference)] : []),
        ...(by !== 1 ? [split(ex, `${by}`)] : []),
      ]
    })
  }

  test('the splits of AAPL (2:1, 2:1, 7:1, 4:1) adjust exactly', () => {
    const known = recorded('aapl')
    const splits = actionsOf(known).filter(({ kind }) => kind === 'split')
    expect(splits).toEqual([
      split('2000-06-21', '2'),
      split('2005-02-28', '2'),
      split('2014-06-09', '7'),
      split('2020-08-31', '4'),
    ])
    for (const [n, b] of adjustBars(known.bars, splits, 'split', 'ONE_DAY').entries()) {
      const raw = known.bars[n]!
      const factor = known.factors.find(({ until }) => until >= raw.date)!.shares
      // 0.00892857 is 1 / 112.
      const shares = BigInt(Math.round(1 / factor))
      expect(BigInt(b.volume!)).toBe(BigInt(raw.volume!) * shares)
      const units = BigInt(raw.close.replace('.', '')) * 10n ** 6n
      const expected = BigInt(`${b.close.split('.')[0]}${(b.close.split('.')[1] ?? '').padEnd(10, '0').slice(0, 10)}`)
      expect(expected).toBe((2n * units + shares) / (2n * shares))
    }
  })

  test.each(['aapl', 'bac'])('the adjusted days of %s equal the factor file within its rounding', (symbol) => {
    const known = recorded(symbol)
    const actions = actionsOf(known)
    expect(actions.length).toBeGreaterThan(30)
    for (const [n, b] of adjustBars(known.bars, actions, 'adjusted', 'ONE_DAY').entries()) {
      const raw = known.bars[n]!
      const { price, shares } = known.factors.find(({ until }) => until >= raw.date)!
      // The file has 0.0178571 for 1/56: off by 2.4 millionths.
      expect(Math.abs(Number(b.close) / (Number(raw.close) * price * shares) - 1)).toBeLessThan(3e-6)
    }
  })
})

describe('hashActions', () => {
  test('the hash is equal for equal actions, and different after any change', () => {
    const one = [split('2020-08-31', '4'), dividend('2020-11-06', '0.205', '119.03')]
    expect(hashActions(one)).toBe(hashActions(structuredClone(one)))
    const others = [
      [],
      one.slice(1),
      [split('2020-08-31', '5'), one[1]!],
      [one[0]!, dividend('2020-11-06', '0.205', null)],
      [one[0]!, dividend('2020-11-06', '0.21', '119.03')],
    ]
    expect(new Set([one, ...others].map(hashActions)).size).toBe(6)
  })
})
