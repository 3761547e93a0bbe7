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
  return { all, judge: createLeakDetector(all) }
}

const look = (
  judge: ReturnType<typeof createLeakDetector>,
  text: string,
  more: Partial<{ sent: string; echoes: boolean }> = {},
) => judge.check({ to: 'bob', where: 'a test', text, sent: '', echoes: false, ...more })

describe('P8 the search finds the data of another user', () => {
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
  test.each(hidden)('%s', (_how, text) => {
    const { judge } = world()
    look(judge, `${'x'.repeat(50)} ${text} ${'y'.repeat(50)}`)
    look(judge, text)
    expect(judge.counts.leaks).toBe(2)
    expect(judge.leaks[0]).toMatchObject({ to: 'bob', of: 'ada' })
  })

  test('and nothing where there is nothing', () => {
    const { judge } = world()
    for (const text of ['', LOT.slice(1), NUMBER.slice(0, -1), `${LOT.slice(0, -1)}1`, 'note of bob']) look(judge, text)
    expect(judge.counts).toMatchObject({ leaks: 0, seen: 0 })
  })

  test('data that came back to its owner is counted, without the data of the request', () => {
    const { judge } = world()
    const own = judge.check({ to: 'ada', where: '', text: `${LOT} ${NOTE}`, sent: `GET /${LOT}`, echoes: false })
    expect([own, judge.counts.seen, judge.counts.leaks]).toEqual([[NOTE], 1, 0])
  })

  test('a signed-out user owns nothing: all private data is a leak to them', () => {
    const { judge } = world()
    judge.check({ to: null, where: '', text: `${LOT} note of bob, long enough`, sent: '', echoes: false })
    expect(judge.leaks.map(({ of }) => of).sort()).toEqual(['ada', 'bob'])
  })

  test('only a response that may repeat the request is excused for it, and for that alone', () => {
    const { judge } = world()
    look(judge, `no lot ${LOT}`, { sent: `GET /${LOT}`, echoes: true })
    expect(judge.counts.leaks).toBe(0)
    look(judge, `no lot ${LOT}`, { sent: `GET /${LOT}` })
    look(judge, `no lot ${LOT}, which costs ${NUMBER}`, { sent: `GET /${LOT}`, echoes: true })
    expect(judge.leaks.map(({ canary }) => canary)).toEqual([LOT, NUMBER])
  })

  test('among very many', () => {
    const { all, judge } = world()
    const random = createRandom(7)
    const numbers = Array.from({ length: 20_000 }, () => `${1 + random.under(400)}.${random.digits(16)}`)
    for (const text of numbers) all.add('ada', text)
    look(judge, numbers.join('\n'))
    expect(judge.counts.leaks).toBe(new Set(numbers).size)
    look(judge, Array.from({ length: 20_000 }, () => `${1 + random.under(400)}.${random.digits(16)}`).join('\n'))
    expect(judge.counts.leaks).toBe(new Set(numbers).size)
  })
})

describe('what is somebody’s', () => {
  test('is long enough to be nobody else’s by chance', () => {
    for (const text of ['12.5', '0.000000000000000000001', '12345678', 'short'])
      expect(isDistinctive(text), text).toBe(false)
    for (const text of [NUMBER, `-${NUMBER}`, LOT, NOTE]) expect(isDistinctive(text), text).toBe(true)
  })

  test('stays whose it was first', () => {
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

  test('is learned from what they are told: ids and amounts, and no price of the market', () => {
    const [all] = learned({
      lots: [{ id: LOT, cost: NUMBER }],
      prices: [{ price: '93.1234567890123456' }],
      positions: [{ cmp: '94.1234567890123456', rate: '0.9234567890123456', present_value: '95.1234567890123456' }],
    })
    const owners = [LOT, NUMBER, '93.1234567890123456', '94.1234567890123456', '0.9234567890123456'].map(all.ownerOf)
    expect([...owners, all.ownerOf('95.1234567890123456')]).toEqual(['ada', 'ada', null, null, null, 'ada'])
  })

  test('are places in what they were sent, alone or among others', () => {
    for (const position of ['0123456789abcdef-7', 'BTC-USD:fedcba9876543210-1,portfolio:0123456789abcdef-7']) {
      const [all, person] = learned({ type: 'snapshot', position })
      expect([all.ownerOf('0123456789abcdef'), all.ownerOf('fedcba9876543210')]).toEqual(['ada', null])
      expect(person.things.positions).toEqual([position])
    }
    const [all] = learned({ type: 'update', position: 'BTC-USD:fedcba9876543210-1' })
    expect(all.size).toBe(0)
  })
})
