import { getOpenApiDocument } from '../../../src/api/openapi.ts'

export type Schema = { [key: string]: unknown }
type Operation = {
  operationId: string
  parameters?: { in: string; name: string; required?: boolean; schema?: Schema }[]
  responses: Record<string, { description: string; content?: Record<string, { schema: Schema }> }>
}
type Document = {
  openapi: string
  info: { title: string; version: string }
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema> }
  tags: { name: string }[]
}

// As it goes over the wire, so that nothing counts that JSON does not hold.
export const document = JSON.parse(JSON.stringify(getOpenApiDocument('1'))) as Document

const KEYWORDS = new Set([
  ...['$ref', 'type', 'enum', 'const', 'properties', 'required', 'items', 'prefixItems', 'anyOf', 'oneOf', 'pattern'],
  ...['additionalProperties', 'propertyNames', 'minimum', 'maximum', 'minItems', 'maxItems', 'minLength', 'maxLength'],
  ...['description', 'example', 'examples', 'default', 'format', 'allOf'],
])

/** The differences of a value from its schema, by the part of JSON Schema that the document uses. */
export function schemaViolations(value: unknown, schema: Schema, at = '$'): string[] {
  const unknown = Object.keys(schema).filter((key) => !KEYWORDS.has(key))
  if (unknown.length > 0) return [`${at}: the test does not know ${unknown.join(', ')}`]
  const ref = schema.$ref as string | undefined
  if (ref !== undefined) {
    const named = document.components.schemas[ref.replace('#/components/schemas/', '')]
    return named ? schemaViolations(value, named, at) : [`${at}: ${ref} leads nowhere`]
  }
  const several = (schema.anyOf ?? schema.oneOf) as Schema[] | undefined
  if (several) {
    const each = several.map((one) => schemaViolations(value, one, at))
    return each.some((found) => found.length === 0) ? [] : each.flat()
  }
  if ('const' in schema) return value === schema.const ? [] : [`${at}: not ${String(schema.const)}`]
  if (schema.enum)
    return (schema.enum as unknown[]).includes(value) ? [] : [`${at}: ${String(value)} is none of the enum`]
  const types = schema.type === undefined ? null : [schema.type].flat()
  const type = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
  const whole = types?.includes('integer') && Number.isInteger(value)
  if (types && !types.includes(type) && !whole) return [`${at}: ${type}, not ${types.join(' or ')}`]
  const found: string[] = []
  if (type === 'array')
    for (const [i, item] of (value as unknown[]).entries()) {
      const of = (schema.prefixItems as Schema[] | undefined)?.[i] ?? (schema.items as Schema | undefined)
      if (of) found.push(...schemaViolations(item, of, `${at}/${i}`))
    }
  if (type === 'object') {
    const properties = (schema.properties ?? {}) as Record<string, Schema>
    for (const name of (schema.required ?? []) as string[])
      if (!Object.hasOwn(value as object, name)) found.push(`${at}: ${name} is missing`)
    for (const [name, item] of Object.entries(value as object)) {
      const of = properties[name]
      if (of) found.push(...schemaViolations(item, of, `${at}/${name}`))
      else if (schema.properties && schema.additionalProperties === undefined)
        found.push(`${at}: ${name} is not told of`)
    }
  }
  if (typeof schema.minimum === 'number' && (value as number) < schema.minimum)
    found.push(`${at}: below ${schema.minimum}`)
  return found
}

export const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)
