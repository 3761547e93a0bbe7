import { expect } from 'vitest'

declare global {
  interface ImportMeta {
    glob(pattern: string, options: { query: string; import: string; eager: true }): Record<string, string>
  }
}

const FOLDER = '../../fixtures/contract'
const FILES = import.meta.glob('../../fixtures/contract/*.json', { query: '?raw', import: 'default', eager: true })

const textOf = (value: unknown): string => `${JSON.stringify(value, null, 1)}\n`

/**
 * Compares entries with their recorded copy, `test/fixtures/contract/<name>.json`, including the order of keys. `vitest -u`
 * records again.
 * @param observed entries by name; a failure shows a diff for each entry that differs
 */
export async function expectRecorded(name: string, observed: Record<string, unknown>): Promise<void> {
  const path = `${FOLDER}/${name}.json`
  try {
    await expect(textOf(observed)).toMatchFileSnapshot(path)
  } catch (mismatch) {
    const recorded = JSON.parse(FILES[path] ?? '{}') as Record<string, unknown>
    const names = new Set([...Object.keys(recorded), ...Object.keys(observed)])
    const differs = (name: string) => textOf(observed[name]) !== textOf(recorded[name])
    const different = [...names].filter(differs)
    for (const key of different)
      expect.soft(textOf(observed[key] ?? 'not observed'), key).toBe(textOf(recorded[key] ?? 'not recorded'))
    // Every entry is equal, so their order differs.
    if (different.length === 0) throw mismatch
  }
}
