import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  addUnits,
  compareDecimals,
  formatUnits,
  isPositiveDecimal,
  parseUnits,
  trimDecimal,
} from '../../../src/market/decimal.ts'
import { fromScaled, toScaled } from '../../support/recording-rules.ts'

const digits = (min: number, max: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: min, maxLength: max })

/** Plain decimals above zero, of up to 38 digits on either side. */
const decimal = fc
  .tuple(fc.oneof(digits(1, 4), digits(1, 38)), fc.oneof(fc.constant(''), digits(1, 8), digits(1, 38)))
  .map(([whole, fraction]) => `${whole.replace(/^0+(?=.)/, '')}${fraction && `.${fraction}`}`)
  .filter((text) => /[1-9]/.test(text))

describe('C3 decimals are exact', () => {
  test('C3 a decimal survives the conversion to units and back', () => {
    fc.assert(
      fc.property(decimal, (text) => {
        expect(formatUnits(parseUnits(text))).toBe(fromScaled(toScaled(text)))
      }),
    )
  })

  test('C3 sums equal the sums of big integers in any order', () => {
    fc.assert(
      fc.property(fc.array(decimal, { minLength: 1, maxLength: 40 }), (texts) => {
        const sum = fromScaled(texts.reduce((all, text) => all + toScaled(text), 0n))
        expect(formatUnits(texts.map(parseUnits).reduce(addUnits))).toBe(sum)
        expect(formatUnits(texts.toReversed().map(parseUnits).reduce(addUnits))).toBe(sum)
      }),
    )
  })

  test('C3 sums stay exact beyond safe integers', () => {
    const most = '90071992.54740991'
    expect(formatUnits(addUnits(parseUnits(most), parseUnits('0.00000001')))).toBe('90071992.54740992')
    expect(formatUnits(addUnits(parseUnits(most), parseUnits(most)))).toBe('180143985.09481982')
    expect(formatUnits(addUnits(parseUnits('0.00000001'), parseUnits('0.000000001')))).toBe('0.000000011')
    expect(formatUnits(addUnits(parseUnits('0.000000005'), parseUnits('0.000000005')))).toBe('0.00000001')
    expect(formatUnits(parseUnits('0.00000001'))).toBe('0.00000001')
    expect(formatUnits(parseUnits('9'.repeat(38)))).toBe('9'.repeat(38))
  })

  test('C3 decimals order like big integers', () => {
    fc.assert(
      fc.property(decimal, decimal, (a, b) => {
        const [x, y] = [toScaled(a), toScaled(b)]
        expect(Math.sign(compareDecimals(a, b))).toBe(x < y ? -1 : x > y ? 1 : 0)
        expect(compareDecimals(a, a)).toBe(0)
      }),
    )
  })

  test('C3 decimals that are the same double are still ordered exactly', () => {
    fc.assert(
      fc.property(digits(17, 37), fc.constantFrom('', '.'), fc.constantFrom(...'12345678'), (tail, point, digit) => {
        const shared = `1${tail.slice(0, 18)}${point || '0'}${tail.slice(0, 18) || '0'}`
        const [a, b] = [`${shared}${digit}`, `${shared}${Number(digit) + 1}`]
        expect(compareDecimals(a, b)).toBeLessThan(0)
        expect(compareDecimals(b, a)).toBeGreaterThan(0)
      }),
    )
    expect(Number('0.1000000000000000055')).toBe(Number('0.1'))
    expect(compareDecimals('0.1000000000000000055', '0.1')).toBeGreaterThan(0)
    expect(compareDecimals('1.50', '1.5')).toBe(0)
  })

  test('C3 only trailing zeros of the fraction are trimmed', () => {
    fc.assert(
      fc.property(decimal, (text) => {
        expect(trimDecimal(text)).toBe(fromScaled(toScaled(text)))
      }),
    )
    expect(['100', '0.10', '10.0', '1.000', '20.020'].map(trimDecimal)).toEqual(['100', '0.1', '10', '1', '20.02'])
  })

  test.each([
    [['1', '0.1', '10.50', '0.00000001', '9'.repeat(38), `1.${'1'.repeat(38)}`], true],
    [
      ['', '0', '0.0', '-1', '+1', '1e5', '1E5', '.5', '5.', '01', '00.1', ' 1', '1 ', '1,5', '1.2.3', 'NaN', '٣'],
      false,
    ],
    [['Infinity', '0x10', '9'.repeat(39), `1.${'1'.repeat(39)}`, '1_000', 1, null, undefined, ['1'], {}], false],
  ])('C3 the check for positive decimals of %j returns %s', (texts, is) => {
    for (const text of texts) expect(isPositiveDecimal(text), String(text)).toBe(is)
  })
})
