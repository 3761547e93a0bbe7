import { expect, test } from 'vitest'
import { translateElements, translateSignals } from '../../../../src/client/elements/datastar-events.ts'

/** Stands in for the browser's parser: elements are written `id` or `id!` (no place in the document), one a space. */
const elementsOf = (html: string) =>
  html.split(' ').map((word) => ({ html: word, id: word.replace('!', ''), known: !word.endsWith('!') }))

test('elements are morphed into those of their ids; one without a place is left out alone', () => {
  expect(translateElements({ elements: 'a b! c' }, elementsOf)).toEqual(
    ['a', 'c'].map((id) => ({
      type: 'datastar-merge-fragments',
      args: { fragments: id, selector: `[id="${id}"]`, mergeMode: 'morph', useViewTransition: 'false' },
    })),
  )
})

test('modes and selectors of 1.0 become those of the engine', () => {
  const [event] = translateElements({ elements: 'a!', selector: '#x', mode: 'replace' }, elementsOf)
  expect(event?.args).toMatchObject({ selector: '#x', mergeMode: 'outer' })
  expect(translateElements({ mode: 'remove', selector: '#x' }, elementsOf)).toEqual([
    { type: 'datastar-remove-fragments', args: { selector: '#x', useViewTransition: 'false' } },
  ])
  expect(translateElements({ elements: 'a', mode: 'unheard-of' }, elementsOf)).toEqual([])
})

test('signals are merged, and those patched with null removed', () => {
  expect(translateSignals({ signals: '{"a":1,"b":{"c":null,"d":2}}' })).toEqual([
    { type: 'datastar-merge-signals', args: { signals: '{"a":1,"b":{"d":2}}', onlyIfMissing: 'false' } },
    { type: 'datastar-remove-signals', args: { paths: 'b.c' } },
  ])
})
