import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')

/** An import or export of values from a package; what is of types alone leaves nothing to load. */
const FROM = /^(?:import|export)\s+(?!type\b)(?:[^'"]*\sfrom\s+)?'([^'.:][^':]*)'/gm

/**
 * Every module of a package that the Worker imports by name, such as `hono` and `hono/html`, sorted, without those of
 * the packages named in `but`.
 */
export function workerPackages(but: readonly string[]): string[] {
  const files = ['src', 'durable-objects', 'workers'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !path.startsWith('client'))
      .map((path) => join(root, folder, path)),
  )
  const names = files.flatMap((file) => [...readFileSync(file, 'utf8').matchAll(FROM)].map((match) => match[1] ?? ''))
  return [...new Set(names)].filter((name) => !but.some((one) => name === one || name.startsWith(`${one}/`))).sort()
}
