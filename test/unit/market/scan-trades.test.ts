import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseFeedMessage } from '../../../src/market/coinbase.ts'
import { scanTrades } from '../../../src/market/scan-trades.ts'
import { recordedFrames } from '../../support/recordings.ts'

const RECORDINGS = [
  'replay/xrp-eth-36h.jsonl.gz',
  'replay/btc-usdt-faults.jsonl.gz',
  'coinbase-ws/advanced-trade-BTC-ETH-2026-08-09-seq0-559.jsonl.gz',
]

const digits = (most: number) => fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: most })
const decimal = fc.oneof(
  digits(20),
  fc.tuple(digits(8), digits(8)).map(([whole, fraction]) => `${whole}.${fraction}`),
)
const time = fc.constantFrom('2026-08-09T21:05:48.228568804Z', '2026-08-09T21:05:48Z', '2026-02-30T99:99Z', 'Z')
const trade = fc.record({
  product_id: fc.constantFrom('BTC-USD', '1INCH-USD', 'BIP-20DEC30-CDE', '__proto__'),
  trade_id: digits(17),
  price: decimal,
  size: decimal,
  time,
  side: fc.constantFrom('BUY', 'SELL'),
})
const message = fc
  .record({
    channel: fc.constant('market_trades'),
    timestamp: time,
    sequence_num: fc.integer({ min: 0, max: 999_999_999_999_999 }),
    events: fc.array(
      fc.record({ type: fc.constantFrom('snapshot', 'update'), trades: fc.array(trade, { maxLength: 4 }) }),
      { minLength: 1, maxLength: 3 },
    ),
  })
  .map((value) => JSON.stringify(value))

const piece = fc.oneof(
  fc.constantFrom(
    ...'"\\,:{}[]0.-eE \n\t',
    '\0',
    '\\u0042',
    '\\"',
    'null',
    '[]',
    '},{',
    ']},{',
    '"side":"BUY"',
    '"x":1,',
  ),
  fc.string({ maxLength: 3 }),
)
const edit = fc.record({ at: fc.nat(600), removed: fc.nat(12), inserted: fc.oneof(fc.constant(''), piece) })

function edited(text: string, edits: { at: number; removed: number; inserted: string }[]): string {
  let result = text
  for (const { at, removed, inserted } of edits) {
    const start = at % (result.length + 1)
    result = result.slice(0, start) + inserted + result.slice(start + removed)
  }
  return result
}

function expectAsParsed(text: string): boolean {
  const scanned = scanTrades(text)
  if (scanned !== null) expect(scanned).toStrictEqual(JSON.parse(text))
  return scanned !== null
}

const TRADE = '{"product_id":"A-B","trade_id":"7","price":"1.5","size":"2","time":"2026-08-09T21:05:48Z","side":"BUY"}'
const EVENT = `{"type":"update","trades":[${TRADE}]}`
const TEXT = `{"channel":"market_trades","timestamp":"2026-08-09T21:05:49Z","sequence_num":3,"events":[${EVENT}]}`

describe('C4 trades are read without JSON.parse exactly as with it', () => {
  test.each(RECORDINGS)('C4 every message with trades in %s has the scanned form', (path) => {
    const texts = recordedFrames(path).filter((text) => parseFeedMessage(text).kind === 'trades')
    expect(texts.length).toBeGreaterThan(30)
    for (const text of texts) expect(expectAsParsed(text), text).toBe(true)
  })

  test('C4 other messages of a recording are left to JSON.parse or read the same', () => {
    for (const path of RECORDINGS) for (const text of recordedFrames(path)) expectAsParsed(text)
  })

  test('C4 every message of the scanned form is scanned, whether its values are valid or not', () => {
    fc.assert(
      fc.property(message, (text) => {
        expect(expectAsParsed(text)).toBe(true)
      }),
    )
  })

  test('C4 an altered text is left to JSON.parse or read the same', () => {
    let scanned = 0
    let left = 0
    fc.assert(
      fc.property(message, fc.array(edit, { minLength: 1, maxLength: 3 }), (text, edits) => {
        if (expectAsParsed(edited(text, edits))) scanned++
        else left++
      }),
      { numRuns: 5_000 },
    )
    expect(Math.min(scanned, left)).toBeGreaterThan(50)
  })

  test('C4 a text with one character added, removed or changed is left to JSON.parse or read the same', () => {
    const two = TEXT.replace(EVENT, `${EVENT},${EVENT.replace(TRADE, `${TRADE},${TRADE}`)}`)
    expect(expectAsParsed(two)).toBe(true)
    for (let at = 0; at <= two.length; at++)
      for (const inserted of ['', '"', '\\', ',', ';', '{', '}', '[', ']', ' ', '\n', '\u0000', '0', '-', 'é'])
        for (const removed of [0, 1]) expectAsParsed(edited(two, [{ at, removed, inserted }]))
  })

  test.each([
    ['white space', TEXT.replace(',"events"', ', "events"')],
    ['white space behind', `${TEXT}\n`],
    ['a byte order mark', `\uFEFF${TEXT}`],
    ['another text behind', `${TEXT}${TEXT}`],
    ['one thing less', TEXT.slice(0, -1)],
    ['an escape', TEXT.replace('A-B', '\\u0041-B')],
    ['another order of keys', TEXT.replace('"price":"1.5","size":"2"', '"size":"2","price":"1.5"')],
    ['one more key', TEXT.replace('"side":"BUY"', '"side":"BUY","x":1')],
    ['a key again', TEXT.replace('"price":"1.5"', '"price":"1.5","price":"9"')],
    ['a number for text', TEXT.replace('"trade_id":"7"', '"trade_id":7')],
    ['a sequence with a zero in front', TEXT.replace('"sequence_num":3', '"sequence_num":03')],
    ['a sequence that is no plain count', TEXT.replace('"sequence_num":3', '"sequence_num":3e0')],
    ['a sequence past the exact integers', TEXT.replace('"sequence_num":3', '"sequence_num":9007199254740993')],
    ['an empty list of events', TEXT.replace(EVENT, '')],
    ['a comma behind the last trade', TEXT.replace(TRADE, `${TRADE},`)],
    ['a comma behind the last event', TEXT.replace(EVENT, `${EVENT},`)],
    ['no comma between two trades', TEXT.replace(TRADE, TRADE + TRADE)],
    ['something else than a comma between two trades', TEXT.replace(TRADE, `${TRADE};${TRADE}`)],
    ['something else than a comma between two events', TEXT.replace(EVENT, `${EVENT};${EVENT}`)],
    ['another kind of event', TEXT.replace('"update"', '"other"')],
    ['another channel', TEXT.replace('market_trades', 'heartbeats')],
    ['nothing', ''],
  ])('C4 a message with %s is left to JSON.parse', (_, text) => {
    expect(scanTrades(text)).toBeNull()
  })
})
