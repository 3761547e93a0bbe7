import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { formatBuildError } from './build.ts'
import { ROOT } from './variables.ts'

const OUT = join(ROOT, 'dist')

/**
 * Builds the published package into `dist`: the client, the React hook, their shared chunk and their types, for browsers and
 * Node. Other packages stay imports.
 * @throws BuildFailure for an error in the code, Error for one in the types
 */
export async function buildPackage(): Promise<void> {
  rmSync(OUT, { recursive: true, force: true })
  await build({
    entryPoints: {
      client: join(ROOT, 'src', 'client', 'sdk', 'connect.ts'),
      react: join(ROOT, 'src', 'client', 'sdk', 'react.ts'),
    },
    outdir: OUT,
    bundle: true,
    splitting: true,
    chunkNames: 'shared-[hash]',
    packages: 'external',
    format: 'esm',
    platform: 'neutral',
    target: 'es2022',
    logLevel: 'silent',
  })
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')
  execFileSync(process.execPath, [tsc, '-p', join(ROOT, 'tsconfig.package.json')], { stdio: ['ignore', 2, 2] })
}

if (import.meta.main)
  buildPackage().catch((failure) => {
    console.error(`build:package: ${formatBuildError(failure)}`)
    process.exitCode = 1
  })
