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
 * Compares what was observed with its recorded copy, `test/fixtures/contract/<name>.json`. `vitest run -u` records
 * again. The order of keys counts.
 * @param observed by name, so that a failure can list which entries differ and show each difference
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
    // With every entry as recorded it is their order, or how the file is written.
    if (different.length === 0) throw mismatch
  }
}
