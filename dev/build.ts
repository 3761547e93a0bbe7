import { readdirSync, rmSync, watch } from 'node:fs'
import { join } from 'node:path'
import { type BuildFailure, type BuildOptions, build, context } from 'esbuild'
import { ROOT } from './variables.ts'

const SOURCE = join(ROOT, 'src')
const PAGES = join(SOURCE, 'client', 'pages')
const OUT = join(ROOT, 'public', 'app')

/** Bundles every file of `src/client/pages` into a file of `public/app` with the same name. */
function buildOptions(): BuildOptions {
  const entries = readdirSync(PAGES).filter((name) => /\.(ts|css)$/.test(name))
  return {
    entryPoints: entries.map((name) => join(PAGES, name)),
    outdir: OUT,
    bundle: true,
    minify: true,
    sourcemap: true,
    format: 'esm',
    target: 'es2022',
    logLevel: 'silent',
  }
}

/** The first error of a failed build as `file:line:column: message`. */
export function formatBuildError(failure: unknown): string {
  const [first] = (failure as Partial<BuildFailure>).errors ?? []
  if (!first) return String(failure)
  const { text, location } = first
  return location ? `${location.file}:${location.line}:${location.column}: ${text}` : text
}

/** Builds the browser's code once. @throws BuildFailure, which `formatBuildError` formats */
export async function buildClient(): Promise<void> {
  rmSync(OUT, { recursive: true, force: true })
  await build(buildOptions())
}

/**
 * Builds the browser's code, and again whenever a file of `src` changes. Errors of later builds go to `print`. The returned
 * function ends it. (esbuild's own watch mode outlives a parent that is killed.)
 * @throws BuildFailure if the first build fails
 */
export async function watchClient(print: (line: string) => void): Promise<() => Promise<void>> {
  rmSync(OUT, { recursive: true, force: true })
  const builder = await context(buildOptions())
  try {
    await builder.rebuild()
  } catch (failure) {
    await builder.dispose()
    throw failure
  }
  let timer: NodeJS.Timeout | undefined
  const changed = () => {
    clearTimeout(timer)
    // An editor saves in several steps.
    timer = setTimeout(() => builder.rebuild().catch((failure) => print(`build: ${formatBuildError(failure)}`)), 100)
  }
  // Folder by folder: Node's recursive watch loses a file that an editor replaces.
  const folders = readdirSync(SOURCE, { recursive: true, withFileTypes: true }).filter((entry) => entry.isDirectory())
  const watchers = [SOURCE, ...folders.map((entry) => join(entry.parentPath, entry.name))].map((folder) =>
    watch(folder, changed),
  )
  return async () => {
    clearTimeout(timer)
    for (const watcher of watchers) watcher.close()
    await builder.dispose()
  }
}

if (import.meta.main)
  buildClient().catch((failure) => {
    console.error(`build: ${formatBuildError(failure)}`)
    process.exitCode = 1
  })
