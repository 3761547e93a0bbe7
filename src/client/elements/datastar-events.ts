/** An event as the engine knows it. */
export type EngineEvent = { type: string; args: Record<string, string> }

const byId = (id: string): string => `[id=${JSON.stringify(id)}]`

/** Modes of `datastar-patch-elements` and what the engine called them. `inner` and `remove` have their own cases. */
const MERGE_MODES: Readonly<Record<string, string>> = {
  outer: 'morph',
  replace: 'outer',
  prepend: 'prepend',
  append: 'append',
  before: 'before',
  after: 'after',
}

/**
 * `datastar-patch-elements` as the engine's events. Elements that are aimed at by their own id and have no place in the
 * document are left out, as 1.0 does, where the older engine throws and drops the rest.
 * @param elementsOf cuts HTML into its top elements; `known`: the document has one with this id.
 */
export function translateElements(
  args: Record<string, string>,
  elementsOf: (html: string) => { html: string; id: string; known: boolean }[],
): EngineEvent[] {
  const { elements = '', selector = '', mode = 'outer', useViewTransition = 'false' } = args
  if (mode === 'remove') {
    const targets = selector === '' ? elementsOf(elements).map(({ id }) => byId(id)) : [selector]
    return targets.map((target) => ({
      type: 'datastar-remove-fragments',
      args: { selector: target, useViewTransition },
    }))
  }
  const mergeMode = mode === 'inner' ? 'inner' : MERGE_MODES[mode]
  if (mergeMode === undefined) return []
  return elementsOf(elements)
    .filter(({ known }) => selector !== '' || known)
    .map(({ html, id }) => ({
      type: 'datastar-merge-fragments',
      args: { fragments: html, selector: selector || byId(id), mergeMode, useViewTransition },
    }))
}

/** `datastar-patch-signals` as the engine's events: a signal patched with null is removed, the others are merged. */
export function translateSignals(args: Record<string, string>): EngineEvent[] {
  const { signals = '{}', onlyIfMissing = 'false' } = args
  const removed: string[] = []
  const kept = without(JSON.parse(signals) as Record<string, unknown>, '', removed)
  const merge = { type: 'datastar-merge-signals', args: { signals: JSON.stringify(kept), onlyIfMissing } }
  if (removed.length === 0) return [merge]
  return [merge, { type: 'datastar-remove-signals', args: { paths: removed.join('\n') } }]
}

function without(value: Record<string, unknown>, path: string, removed: string[]): Record<string, unknown> {
  const kept: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value)) {
    if (inner === null) removed.push(path + key)
    else if (typeof inner === 'object' && !Array.isArray(inner))
      kept[key] = without(inner as Record<string, unknown>, `${path}${key}.`, removed)
    else kept[key] = inner
  }
  return kept
}
