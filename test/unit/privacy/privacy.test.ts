import { describe, expect, test } from 'vitest'
import { type Canaries, createCanaries, isDistinctive } from '../../privacy/canaries.ts'
import { createLeakDetector } from '../../privacy/leak-detector.ts'
import { learnCanaries, newPerson } from '../../privacy/person.ts'
import { createRandom } from '../../privacy/random.ts'

const LOT = '8717814d-44d0-48c6-ba55-c132628ffac0'
const NUMBER = '1268.6982540976425651'
const NOTE = 'note 6yaihz5fad8a2f'

function world() {
  const all = createCanaries()
  for (const text of [LOT, NUMBER, NOTE, 'ada@example.com']) all.add('ada', text)
  all.add('bob', 'note of bob, long enough')
  return { all, detector: createLeakDetector(all) }
}

const checkForBob = (
  detector: ReturnType<typeof createLeakDetector>,
  text: string,
  more: Partial<{ sent: string; echoes: boolean }> = {},
) => detector.check({ to: 'bob', where: 'a test', text, sent: '', echoes: false, ...more })

describe('P8 the leak detector finds the data of another user', () => {
  const hidden: [string, string][] = [
    ['as it is', `{"id":"${LOT}"}`],
    ['in capitals', LOT.toUpperCase()],
    ['at the very beginning and end', NOTE],
    ['in an address', encodeURIComponent('ada@example.com')],
    ['in HTML', '<b>ada&#64;example.com</b>'],
    ['in HTML, by letters in hexadecimal', '<b>ada&#x40;example.com</b>'],
    ['in JSON with escapes', '"ada\\u0040example.com"'],
    ['in digits by groups', '1,268.6982540976425651'],
    ['in a cursor', Buffer.from(`2026-01-05T00:00:00Z ${LOT}`).toString('base64url')],
    ['in a token', `x.${Buffer.from(JSON.stringify({ sub: LOT })).toString('base64url')}.y`],
    ['as a JSON number', `{"quantity":${NUMBER}}`],
    ['in a position', `feed:1-2,portfolio:${LOT}-7`],
  ]
  test.each(hidden)('P8 the leak detector finds private data of another user %s', (_how, text) => {
    const { detector } = world()
    checkForBob(detector, `${'x'.repeat(50)} ${text} ${'y'.repeat(50)}`)
    checkForBob(detector, text)
    expect(detector.counts.leaks).toBe(2)
    expect(detector.leaks[0]).toMatchObject({ to: 'bob', of: 'ada' })
  })

  test('the detector reports nothing in a text without private data', () => {
    const { detector } = world()
    for (const text of ['', LOT.slice(1), NUMBER.slice(0, -1), `${LOT.slice(0, -1)}1`, 'note of bob'])
      checkForBob(detector, text)
    expect(detector.counts).toMatchObject({ leaks: 0, seen: 0 })
  })

  test('data returned to its owner is counted as seen, without the data of the request', () => {
    const { detector } = world()
    const own = detector.check({ to: 'ada', where: '', text: `${LOT} ${NOTE}`, sent: `GET /${LOT}`, echoes: false })
    expect([own, detector.counts.seen, detector.counts.leaks]).toEqual([[NOTE], 1, 0])
  })

  test('a signed-out user owns nothing: all private data is a leak to them', () => {
    const { detector } = world()
    detector.check({ to: null, where: '', text: `${LOT} note of bob, long enough`, sent: '', echoes: false })
    expect(detector.leaks.map(({ of }) => of).sort()).toEqual(['ada', 'bob'])
  })

  test('only a response that may echo the request may contain its data, and no other data', () => {
    const { detector } = world()
    checkForBob(detector, `no lot ${LOT}`, { sent: `GET /${LOT}`, echoes: true })
    expect(detector.counts.leaks).toBe(0)
    checkForBob(detector, `no lot ${LOT}`, { sent: `GET /${LOT}` })
    checkForBob(detector, `no lot ${LOT}, which costs ${NUMBER}`, { sent: `GET /${LOT}`, echoes: true })
    expect(detector.leaks.map(({ canary }) => canary)).toEqual([LOT, NUMBER])
  })

  test('the detector finds each of twenty thousand canaries in one text', () => {
    const { all, detector } = world()
    const random = createRandom(7)
    const numbers = Array.from({ length: 20_000 }, () => `${1 + random.under(400)}.${random.digits(16)}`)
    for (const text of numbers) all.add('ada', text)
    checkForBob(detector, numbers.join('\n'))
    expect(detector.counts.leaks).toBe(new Set(numbers).size)
    checkForBob(
      detector,
      Array.from({ length: 20_000 }, () => `${1 + random.under(400)}.${random.digits(16)}`).join('\n'),
    )
    expect(detector.counts.leaks).toBe(new Set(numbers).size)
  })
})

describe('canaries', () => {
  test('a canary is long enough that no other user has it by chance', () => {
    for (const text of ['12.5', '0.000000000000000000001', '12345678', 'short'])
      expect(isDistinctive(text), text).toBe(false)
    for (const text of [NUMBER, `-${NUMBER}`, LOT, NOTE]) expect(isDistinctive(text), text).toBe(true)
  })

  test('a canary belongs to the first user who had it', () => {
    const { all } = world()
    all.add('bob', NOTE)
    expect(all.ownerOf(NOTE.toUpperCase())).toBe('ada')
  })

  const learned = (message: unknown): [Canaries, ReturnType<typeof newPerson>] => {
    const all = createCanaries()
    const person = newPerson('ada', createRandom(1), ['USD'], true)
    learnCanaries(all, person, message)
    return [all, person]
  }

  test('canaries are learned from what a user receives: ids and amounts, but no market prices', () => {
    const [all] = learned({
      lots: [{ id: LOT, cost: NUMBER }],
      prices: [{ price: '93.1234567890123456' }],
      positions: [{ cmp: '94.1234567890123456', rate: '0.9234567890123456', present_value: '95.1234567890123456' }],
    })
    const owners = [LOT, NUMBER, '93.1234567890123456', '94.1234567890123456', '0.9234567890123456'].map(all.ownerOf)
    expect([...owners, all.ownerOf('95.1234567890123456')]).toEqual(['ada', 'ada', null, null, null, 'ada'])
  })

  test('the epoch of a portfolio position is a canary, alone or among positions of other channels', () => {
    for (const position of ['0123456789abcdef-7', 'BTC-USD:fedcba9876543210-1,portfolio:0123456789abcdef-7']) {
      const [all, person] = learned({ type: 'snapshot', position })
      expect([all.ownerOf('0123456789abcdef'), all.ownerOf('fedcba9876543210')]).toEqual(['ada', null])
      expect(person.things.positions).toEqual([position])
    }
    const [all] = learned({ type: 'update', position: 'BTC-USD:fedcba9876543210-1' })
    expect(all.size).toBe(0)
  })
})
