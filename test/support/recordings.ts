import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { parseNumbers } from '../../src/protocol/exact-json.ts'

const fixtures = join(import.meta.dirname, '..', 'fixtures')

/** The text of a file under `test/fixtures`, unpacked when its name ends in `.gz`. */
export function fixture(path: string): string {
  const bytes = readFileSync(join(fixtures, path))
  return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
}

/** The lines of such a file, without the empty ones. */
export const fixtureLines = (path: string): string[] =>
  fixture(path)
    .split('\n')
    .filter((line) => line.trim() !== '')

/** Parses JSON with every number as its original text, so that no digit passes through a float. */
export const parseExact = (text: string): unknown => parseNumbers(text, (source) => source)

/** The frames that a recorded socket received, in order. */
export const recordedFrames = (path: string): string[] =>
  fixtureLines(path)
    .map((line) => JSON.parse(line) as { t: string; data?: string })
    .flatMap(({ t, data }) => (t === 'recv' && data !== undefined ? [data] : []))
