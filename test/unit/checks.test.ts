import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '../..')
const bin = (name: string) => join(root, 'node_modules/.bin', name)
const directories: string[] = []

/** A directory of its own with copies of the repository's `copied` files and the `written` ones. */
function place(copied: string[], written: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), 'kerb-checks-'))
  directories.push(directory)
  for (const path of copied) cpSync(join(root, path), join(directory, path), { recursive: true })
  for (const [path, text] of Object.entries(written)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), text)
  }
  return directory
}

function run(directory: string, name: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(bin(name), args, { cwd: directory, encoding: 'utf8', timeout: 60_000 })
  return { status, stdout, output: stdout + stderr }
}

afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true })
})

const imports = (from: string) => `import { a } from '${from}'\n\nexport const b = a\n`

/** A file that a rule refuses: where it stands, its text, and the rule that must name it. */
type Case = [path: string, text: string, rule: string | null]

const RESTRICTED = 'lint/style/noRestrictedImports'

const cases: Case[] = [
  ['src/protocol/library.ts', imports('zod'), null],
  ['src/protocol/beside.ts', imports('./candle.ts'), null],
  ['src/protocol/upwards.ts', imports('../market/trade.ts'), RESTRICTED],
  ['src/protocol/settings.ts', imports('../config.ts'), RESTRICTED],

  ['src/market/downwards.ts', imports('../protocol/candle.ts'), null],
  ['src/market/upwards.ts', imports('../pricing/quote.ts'), RESTRICTED],
  ['src/market/edge.ts', imports('../db/candles.ts'), RESTRICTED],
  ['src/market/node.ts', imports('node:fs'), RESTRICTED],
  ['src/market/platform.ts', imports('cloudflare:workers'), RESTRICTED],
  ['src/market/type.ts', "export type { A } from '../db/candles.ts'\n", RESTRICTED],
  ['src/market/dynamic.ts', "export const a = () => import('../db/candles.ts')\n", RESTRICTED],

  ['src/pricing/downwards.ts', imports('../market/trade.ts'), null],
  ['src/pricing/upwards.ts', imports('../portfolio/lots.ts'), RESTRICTED],
  ['src/portfolio/downwards.ts', imports('../pricing/quote.ts'), null],
  ['src/portfolio/edge.ts', imports('../providers/yahoo.ts'), RESTRICTED],

  ['src/providers/downwards.ts', imports('../market/trade.ts'), null],
  ['src/providers/sideways.ts', imports('../db/candles.ts'), RESTRICTED],
  ['src/auth/library.ts', imports('jose'), null],
  ['src/auth/accounts.ts', imports('better-auth/minimal'), null],
  ['src/db/rows.ts', imports('../auth/rows.ts'), null],
  ['src/db/issuer.ts', imports('../auth/built-in.ts'), RESTRICTED],
  ['src/auth/other-library.ts', imports('postgres'), RESTRICTED],
  ['src/db/library.ts', imports('postgres'), null],
  ['src/db/settings.ts', imports('../config.ts'), RESTRICTED],
  ['src/config.ts', imports('./db/candles.ts'), RESTRICTED],

  ['src/client/sdk/downwards.ts', imports('../../protocol/candle.ts'), null],
  ['src/client/sdk/connection.ts', imports('../../delivery/client-connection.ts'), null],
  ['src/client/elements/library.ts', imports('lightweight-charts'), null],
  ['src/client/pages/upwards.ts', imports('../sdk/stream.ts'), null],
  ['src/client/pages/server.ts', imports('../../config.ts'), RESTRICTED],
  ['src/client/sdk/server.ts', imports('../../api/health.ts'), RESTRICTED],
  ['src/client/pages/server-library.ts', imports('hono'), RESTRICTED],

  ['src/api/stubs.ts', imports('../../src/objects.ts'), null],
  ['src/api/object.ts', imports('../../durable-objects/candles/product-candles.ts'), RESTRICTED],
  ['src/api/client.ts', imports('../client/main.ts'), RESTRICTED],
  ['src/pages/object.ts', imports('../../durable-objects/candles/product-candles.ts'), RESTRICTED],
  ['src/pages/worker.ts', imports('../../workers/index.ts'), RESTRICTED],

  ['durable-objects/inside.ts', imports('../src/db/candles.ts'), null],
  ['durable-objects/api.ts', imports('../src/api/health.ts'), RESTRICTED],
  ['durable-objects/worker.ts', imports('../workers/index.ts'), RESTRICTED],
  ['workers/object.ts', imports('../durable-objects/candles/product-candles.ts'), null],
  ['workers/client.ts', imports('../src/client/main.ts'), RESTRICTED],
  ['dev/worker/entry.ts', imports('../../workers/index.ts'), null],
  ['dev/worker.ts', imports('../workers/index.ts'), RESTRICTED],

  ['src/market/given.ts', 'export const a = (ms: number) => new Date(ms).toISOString() + Date.parse("x")\n', null],
  ['src/delivery/clock.ts', 'export const a = () => Date.now()\n', 'plugin'],
  ['src/delivery/edge.ts', imports('../db/candles.ts'), RESTRICTED],
  ['src/market/clock.ts', 'export const a = () => Date.now()\n', 'plugin'],
  ['src/market/date.ts', 'export const a = () => new Date()\n', 'plugin'],
  ['src/protocol/random.ts', 'export const a = () => Math.random()\n', 'plugin'],
  ['src/pricing/clock.ts', 'export const a = Date.now\n', 'plugin'],
  ['src/portfolio/random.ts', 'export const a = Math.random\n', 'plugin'],
  ['src/market/timer.ts', 'export const a = () => setTimeout(() => 1, 1)\n', 'lint/style/noRestrictedGlobals'],
  ['src/api/clock.ts', 'export const a = () => Date.now()\n', null],

  ['src/objects.ts', "export const a = (ns: DurableObjectNamespace) => ns.getByName('x')\n", null],
  ['durable-objects/name.ts', "export const a = (ns: DurableObjectNamespace) => ns.getByName('x')\n", 'plugin'],
  ['src/api/name.ts', "export const a = (ns: DurableObjectNamespace) => ns.idFromName('x')\n", 'plugin'],
  ['workers/name.ts', 'export const a = (ns: DurableObjectNamespace) => ns.newUniqueId()\n', 'plugin'],

  ['src/api/unused.ts', "import { a } from './app.ts'\n\nexport const b = 1\n", 'lint/correctness/noUnusedImports'],
]

describe('lint', () => {
  const found = new Map<string, string[]>()

  beforeAll(() => {
    const written = Object.fromEntries(cases.map(([path, text]) => [path, text]))
    const { stdout } = run(
      place(['biome.json', 'lint'], written),
      'biome',
      'lint',
      '--reporter=json',
      '--max-diagnostics=none',
    )
    const report = JSON.parse(stdout) as { diagnostics: { category: string; location: { path: string } }[] }
    for (const { category, location } of report.diagnostics)
      found.set(location.path, [...(found.get(location.path) ?? []), category])
  })

  test.each(cases)('lint of %s reports exactly the broken rule', (path, _, rule) => {
    expect(found.get(path) ?? []).toEqual(rule === null ? [] : [rule])
  })
})

describe('each step of `npm run check` can fail', () => {
  test('the types check fails on a platform name in a pure folder', () => {
    const copied = ['tsconfig.json', 'tsconfig.pure.json']
    const right = { 'src/market/a.ts': 'export const a = (ms: number) => ms + 1\n' }
    const wrong = { 'src/market/a.ts': 'export const a = () => fetch("https://kerb.test")\n' }
    expect(run(place(copied, right), 'tsc', '-p', 'tsconfig.pure.json').output).toBe('')
    expect(run(place(copied, wrong), 'tsc', '-p', 'tsconfig.pure.json').output).toContain("Cannot find name 'fetch'")
  })

  test('the types check covers every source file', () => {
    const script = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).scripts['check:types'] as string
    const projects = [...script.matchAll(/-p (\S+)/g)].map((match) => match[1] as string)
    const covered = new Set(
      projects.flatMap((project) => run(root, 'tsc', '-p', project, '--listFilesOnly').stdout.split('\n')),
    )
    const listed = spawnSync('git', ['ls-files', '-co', '--exclude-standard', '*.ts'], { cwd: root, encoding: 'utf8' })
    const sources = listed.stdout.trim().split('\n')
    expect(sources).toContain('src/config.ts')
    expect(sources.filter((path) => existsSync(join(root, path)) && !covered.has(join(root, path)))).toEqual([])
  })

  test('the format check fails on another quote character', () => {
    const format = (text: string) =>
      run(place(['biome.json', 'lint'], { 'src/a.ts': text }), 'biome', 'check', '--error-on-warnings').status
    expect(format("export const a = 'b'\n")).toBe(0)
    expect(format('export const a = "b";\n')).toBe(1)
  })

  test('the environment check fails on a variable that the generated types lack', () => {
    const copied = ['worker-configuration.d.ts', 'wrangler.toml', 'workers', 'durable-objects', 'src']
    const check = (directory: string) => run(directory, 'wrangler', 'types', '--include-runtime=false', '--check')
    const directory = place(copied, {})
    expect(check(directory).output).toContain('up to date')
    writeFileSync(join(directory, 'wrangler.toml'), 'name = "kerb"\nmain = "workers/index.ts"\n[vars]\nOTHER = "1"\n')
    expect(check(directory).status).not.toBe(0)
  })
})
