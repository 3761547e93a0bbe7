import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type BuildFailure, type BuildOptions, build, context, type Message } from 'esbuild'
import { ROOT } from './variables.ts'

const PAGES = join(ROOT, 'src', 'client', 'pages')
const OUT = join(ROOT, 'public', 'app')

/** Every file of `src/client/pages` becomes one of `public/app` with the same name, whatever it imports within it. */
function options(): BuildOptions {
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

const lineOf = ({ text, location }: Message): string =>
  location ? `${location.file}:${location.line}:${location.column}: ${text}` : text

/** The first complaint of a build that failed, as `file:line:column: what is wrong`. */
export function complaint(failure: unknown): string {
  const first = (failure as Partial<BuildFailure>).errors?.[0]
  return first ? lineOf(first) : String(failure)
}

/** Builds the browser's code once. @throws BuildFailure, which `complaint` puts in words. */
export async function buildClient(): Promise<void> {
  rmSync(OUT, { recursive: true, force: true })
  await build(options())
}

/**
 * Builds the browser's code, and again whenever one of its files changes; later failures go to `tell`. Gives back how
 * to end it. @throws BuildFailure when the first build fails.
 */
export async function watchClient(tell: (line: string) => void): Promise<() => Promise<void>> {
  rmSync(OUT, { recursive: true, force: true })
  let first = true
  const watcher = await context({
    ...options(),
    plugins: [
      {
        name: 'tell',
        setup: ({ onEnd }) =>
          onEnd(({ errors }) => {
            if (errors[0] && !first) tell(`build: ${lineOf(errors[0])}`)
          }),
      },
    ],
  })
  try {
    await watcher.rebuild()
    first = false
    await watcher.watch()
  } catch (failure) {
    await watcher.dispose()
    throw failure
  }
  return () => watcher.dispose()
}

if (import.meta.main)
  buildClient().catch((failure) => {
    console.error(`build: ${complaint(failure)}`)
    process.exitCode = 1
  })
