import { recordedCode } from './renamed-codes.ts'

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json }

/** Keys of the document whose values are prose. */
const PROSE = new Set(['description', 'summary', 'title'])

/** Keys whose members have names of their own: below them `title` is a property, not prose. */
const NAMED = new Set(['properties', 'patternProperties', '$defs', 'schemas', 'paths', 'headers', 'securitySchemes'])

/** An example of a problem's type holds an error code. */
const isCodeExample = (key: string, item: Json): boolean =>
  key === 'example' && typeof item === 'string' && item.startsWith('urn:kerb:problem:')

const codesIn = (description: string): string[] =>
  [...description.matchAll(/`(\w+)`/g)].map(([, code]) => recordedCode(code as string))

/**
 * Returns the document without its wording. The description of a problem lists its error codes: they become `codes`.
 * @param named true where the keys of `value` are names of members
 */
export function structureOf(value: Json, named = false): Json {
  if (Array.isArray(value))
    return value.map((item) => (typeof item === 'string' ? recordedCode(item) : structureOf(item)))
  if (value === null || typeof value !== 'object') return value
  const structure: Record<string, Json> = {}
  for (const [key, item] of Object.entries(value)) {
    if (!named && (PROSE.has(key) || isCodeExample(key, item))) continue
    structure[key] = structureOf(item, !named && NAMED.has(key))
  }
  const { content, description } = value
  if (
    !named &&
    typeof description === 'string' &&
    content &&
    Object.hasOwn(content as object, 'application/problem+json')
  )
    structure.codes = codesIn(description)
  return structure
}
