import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '../../..')
const SPEC = 'docs/spec.md'

type File = { path: string; text: string }

/** Recorded data and the lock file have foreign text, and this file contains the searched words. */
const isExcluded = (path: string): boolean =>
  path.startsWith('test/fixtures/') || path === 'package-lock.json' || path === relative(root, import.meta.filename)

/** The paths of the repository's files, committed or not yet. */
function listFiles(): string[] {
  const listed = spawnSync('git', ['ls-files', '-coz', '--exclude-standard'], { cwd: root, encoding: 'utf8' })
  return listed.stdout.split('\0').filter((path) => path !== '' && existsSync(join(root, path)))
}

const paths = listFiles()
const files: File[] = paths
  .filter((path) => !isExcluded(path))
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
  .filter(({ text }) => !text.includes('\0'))
const specText = files.find(({ path }) => path === SPEC)?.text ?? ''

/** Rule numbers stay below 50, so that P95 is a percentile; `P1-USD` is a product, `C5-C12` two rules. */
const NUMBER = '[CQPD](?:[1-9]|[1-4]\\d)'
const RULE = `(?<![\\w$])(?:${NUMBER})(?![\\w$])(?!-(?!${NUMBER})\\w)`

const idsIn = (text: string): string[] => text.match(new RegExp(RULE, 'g')) ?? []

const rulesOf = (markdown: string): string[] =>
  [...markdown.matchAll(/^### ([CQPD]\d+) \S/gm)].map(([, id]) => id as string)

/** The comment of a line of code, SQL or configuration; empty where it has none. */
function commentOf(line: string): string {
  const whole = /^\s*(?:\/\/+|\/\*+|\*|--|#)(?:\s(.*))?$/.exec(line)
  return (whole ?? /\s(?:\/\/|\/\*+|--|#)\s(.*)$/.exec(line))?.[1] ?? ''
}

const isTest = ({ path }: File): boolean => path.startsWith('test/') && path.endsWith('.ts')

/** The first argument of `test`, `describe` and their tables, where it is a literal. A skipped test proves nothing. */
const TITLE =
  /(?:\b(?:test|describe)(?:\.(?:each|for|only|concurrent|sequential)\b)*|\))\s*\(\s*(?:'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`([^`]*)`)/g

const titlesOf = (file: File): { title: string; at: number }[] =>
  isTest(file)
    ? [...file.text.matchAll(TITLE)].map((match) => ({
        title: match[1] ?? match[2] ?? match[3] ?? '',
        at: match.index + match[0].length,
      }))
    : []

const lineAt = (text: string, at: number): number => text.slice(0, at).split('\n').length

/** Every rule that a file cites, with its line: in prose, comments and test titles, and in brackets anywhere in a test. */
function citationsOf(file: File): { id: string; line: number }[] {
  const isProse = file.path.endsWith('.md')
  const inLines = file.text.split('\n').flatMap((text, i) => {
    const bracketed = isTest(file) ? (text.match(new RegExp(`\\((?:${RULE})\\)`, 'g')) ?? []).join(' ') : ''
    return idsIn(isProse ? text : `${commentOf(text)} ${bracketed}`).map((id) => ({ id, line: i + 1 }))
  })
  const inTitles = titlesOf(file).flatMap(({ title, at }) =>
    idsIn(title).map((id) => ({ id, line: lineAt(file.text, at) })),
  )
  return [...inLines, ...inTitles]
}

/** Citations of rules that the specification lacks. */
const unknownRules = (of: readonly File[], rules: readonly string[]): string[] =>
  of.flatMap((file) =>
    citationsOf(file)
      .filter(({ id }) => !rules.includes(id))
      .map(({ id, line }) => `${file.path}:${line} ${id}`),
  )

/** Rules that no test title names. */
function unprovenRules(of: readonly File[], rules: readonly string[]): string[] {
  const named = new Set(of.flatMap((file) => titlesOf(file).flatMap(({ title }) => idsIn(title))))
  return rules.filter((id) => !named.has(id))
}

/** Documents, machines and lists of work that a reader of the repository does not have. A line may end in between. */
const OUTSIDE: readonly RegExp[] = [
  /\bbriefs?[\s*/#-]+00\d|\bbriefs\b|\bbrief['’]s\b/gi,
  /\b(?:PROTOCOL|DESIGN|FORMATS)\b/g,
  /(?<![\w.])\/(?:work|root|home\/\w+|tmp\/kerb)\//g,
  /\.\.\/shared\/(?:[A-Z]|brief|data|findings)/g,
  /\b(?:issue #?\d+|closing note)\b/gi,
]

const outsideReferences = (of: readonly File[]): string[] =>
  of.flatMap(({ path, text }) =>
    OUTSIDE.flatMap((pattern) =>
      [...text.matchAll(pattern)].map(
        ({ 0: found, index }) => `${path}:${lineAt(text, index)} ${found.replaceAll(/\s+/g, ' ')}`,
      ),
    ),
  )

/** A heading's anchor, as GitHub makes it. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-')

const anchorsOf = (markdown: string): Set<string> =>
  new Set([...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading as string)))

/** Links of a document, and paths in its code marks, that lead to no file of the repository, or to no heading of one. */
function deadLinks({ path, text }: File, all: readonly string[], textOf: (path: string) => string): string[] {
  const links = [...text.matchAll(/\]\(([^()\s]+)\)/g)]
    .map(({ 1: to = '', index }) => ({ to, index }))
    .filter(({ to }) => !/^[a-z]+:/.test(to))
    .filter(({ to }) => {
      const [file = '', anchor] = to.split('#')
      const target = file === '' ? path : normalize(join(dirname(path), file))
      return !all.includes(target) || (anchor !== undefined && !anchorsOf(textOf(target)).has(anchor))
    })
  const marked = [...text.matchAll(/`((?:[a-z-]+\/)+[\w.-]+\.(?:ts|sql|md|toml|grit))`/g)]
    .map(({ 1: to = '', index }) => ({ to, index }))
    .filter(({ to }) => existsSync(join(root, to.split('/')[0] as string)) && !all.includes(to))
  return [...links, ...marked].map(({ to, index }) => `${path}:${lineAt(text, index)} ${to}`)
}

describe('the checks of docs/spec.md', () => {
  const plant = (path: string, text: string): File[] => [{ path, text }]

  test.each([
    ['src/market/a.ts', `/** Folds trades (C49). */`, 1],
    ['src/market/a.ts', `/**\n * Folds\n * trades (C49).\n */`, 3],
    ['src/market/a.ts', `const a = 1 // C49 says so`, 1],
    ['migrations/0001_a.sql', `SELECT 1; -- C49: why`, 1],
    ['wrangler.toml', `\n# C49, why`, 2],
    ['docs/a.md', `It is exact (C49).`, 1],
    ['test/unit/a.test.ts', `test('C49 holds', () => {})`, 1],
    ['test/unit/a.test.ts', `test.each([1])(\n  "C1-C49 hold",\n  () => {})`, 2],
    ['test/unit/a.test.ts', `const cases = [{ name: 'one without earnings (C49)' }]`, 1],
  ])('the checks find an unknown rule that %s cites: %j', (path, text, line) => {
    expect(unknownRules(plant(path, text), ['C1'])).toEqual([`${path}:${line} C49`])
  })

  test.each([
    ['src/market/a.ts', `const name = 'C49'`],
    ['src/market/a.ts', `// The product C49-USD, and percentile P95`],
    ['public/a.svg', `<path d="M1 2C49 3"/>`],
    ['test/unit/a.test.ts', `find(sql, ['C49', 'C49-USD'])`],
  ])('the checks find no citation in %s where there is none: %j', (path, text) => {
    expect(unknownRules(plant(path, text), [])).toEqual([])
  })

  test('a rule that only a comment, a skipped test or other code names is not proven', () => {
    const text = `// C1\ntest.skip('C2 holds', () => {})\ntest.todo('C3 holds')\ndescribe("C4 a candle's end", () => {})`
    expect(unprovenRules(plant('test/unit/a.test.ts', text), ['C1', 'C2', 'C3', 'C4'])).toEqual(['C1', 'C2', 'C3'])
    expect(unprovenRules(plant('src/a.ts', text), ['C4'])).toEqual(['C4'])
  })

  test.each([
    'the keys of brief 003',
    'made by hand, as in brief\n * 001, it is taken',
    'those of the briefs',
    'PROTOCOL promises one',
    'see ../shared/findings/a.md',
    'stored in `/work/main`',
    'left for issue 12',
  ])('the checks find a reference to a document outside the repository: %j', (text) => {
    expect(outsideReferences(plant('src/a.ts', text))).toHaveLength(1)
  })

  test.each([
    'a brief pause',
    'issues of 12 kinds',
    "import '../shared/time.ts'",
    'POST /refresh-prices',
    'IMPORT_FORMATS',
  ])('the checks find no reference where there is none: %j', (text) => {
    expect(outsideReferences(plant('src/a.ts', text))).toEqual([])
  })

  test('the checks find links and paths that lead nowhere', () => {
    const all = ['docs/a.md', 'docs/b.md', 'src/config.ts']
    const text =
      '[b](b.md#one-two) [c](c.md) [d](b.md#three) [e](../../e.md) `src/config.ts` `src/gone.ts` [f](https://g.h)'
    const textOf = () => '# One, two'
    const found = deadLinks({ path: 'docs/a.md', text }, all, textOf)
    expect(found.map((one) => one.split(' ')[1])).toEqual(['c.md', 'b.md#three', '../../e.md', 'src/gone.ts'])
  })
})

describe('docs/spec.md', () => {
  const rules = rulesOf(specText)

  test('docs/spec.md numbers the rules of each family from 1 on, without a gap', () => {
    for (const family of ['C', 'Q', 'P', 'D']) {
      const numbers = rules.filter((id) => id.startsWith(family)).map((id) => Number(id.slice(1)))
      expect(numbers.length).toBeGreaterThan(0)
      expect(numbers).toEqual(numbers.map((_, i) => i + 1))
    }
    expect(rules.every((id) => new RegExp(`^${NUMBER}$`).test(id))).toBe(true)
  })

  test('docs/spec.md has every rule that code, tests and documents cite', () => {
    const cited = (folder: string) => files.filter(({ path }) => path.startsWith(`${folder}/`)).flatMap(citationsOf)
    for (const folder of ['src', 'durable-objects', 'migrations', 'docs', 'test'])
      expect(cited(folder).length, `citations in ${folder}`).toBeGreaterThan(3)
    expect(unknownRules(files, rules)).toEqual([])
  })

  test('a test title names every rule of docs/spec.md', () => {
    expect(unprovenRules(files, rules)).toEqual([])
    // One in a table has its title behind the brackets, where nothing shows that it is skipped.
    const skipped = files.filter((file) => isTest(file) && /\b(?:test|describe)\.(?:skip|todo|fails)/.test(file.text))
    expect(skipped.map(({ path }) => path)).toEqual([])
  })
})

test('no file refers to documents outside the repository', () => {
  expect(files.length).toBeGreaterThan(500)
  expect(outsideReferences(files)).toEqual([])
})

test('links and paths in documents lead to files of the repository', () => {
  const documents = files.filter(({ path }) => path.endsWith('.md'))
  expect(documents.length).toBeGreaterThan(8)
  const textOf = (path: string) => files.find((file) => file.path === path)?.text ?? ''
  expect(documents.flatMap((document) => deadLinks(document, paths, textOf))).toEqual([])
})
