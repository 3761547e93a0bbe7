import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { expect, test } from 'vitest'
import { stateFolder } from '../../../dev/variables.ts'
import { readSettings } from '../../../src/config.ts'
import { PROVIDER_REGISTRY } from '../../../src/providers/registry.ts'

const root = join(import.meta.dirname, '../../..')
const example = readFileSync(join(root, '.dev.vars.example'), 'utf8')
/** The example with every setting uncommented: prose has a space after the #. */
const written = example.replaceAll(/^#(?! )/gm, '')
const values = parseEnv(written) as Record<string, string>
const source = readFileSync(join(root, 'src/config.ts'), 'utf8')
const providerSettings = Object.values(PROVIDER_REGISTRY).flatMap(({ urlSetting, keySetting, limitSetting }) =>
  keySetting === null ? [urlSetting, limitSetting] : [urlSetting, keySetting, limitSetting],
)
const ownSettings = [...source.matchAll(/^ {4}([A-Z][A-Z_]+): /gm)].map((match) => match[1] as string)
const schemaKeys = [...providerSettings, ...ownSettings]

const IGNORED = ['SHARD_INDEX', 'SHARD_COUNT']
const LOCAL = ['PORT', 'DATABASE_URL', 'WORKER_PASSWORD', 'KERB_EXCHANGE', 'SEED', 'KERB_STATE']

test('.dev.vars.example sets nothing until a setting is uncommented', () => {
  expect(parseEnv(example)).toEqual({})
})

test('.dev.vars.example names exactly the settings', () => {
  expect(Object.keys(readSettings(values)).sort()).toEqual([...schemaKeys].sort())
  expect(Object.keys(values).sort()).toEqual([...schemaKeys, ...IGNORED, ...LOCAL].sort())
})

test('.dev.vars.example is valid with every setting uncommented, and shows the defaults', () => {
  const { PRODUCTS, ALWAYS_ON, WS_ALLOWED_ORIGINS, ...shown } = readSettings(values)
  const { PRODUCTS: _, ALWAYS_ON: __, WS_ALLOWED_ORIGINS: none, ...defaults } = readSettings({})
  const [withDefault, others] = [true, false].map((has) =>
    Object.fromEntries(Object.entries(shown).filter(([name]) => name in defaults === has)),
  )
  expect(withDefault).toEqual(defaults)
  const deployed = readFileSync(join(root, 'wrangler.toml'), 'utf8')
  expect(deployed).toContain(`PRODUCTS = "${PRODUCTS.join(',')}"`)
  expect(deployed).toContain(`ALWAYS_ON = "${ALWAYS_ON.join(',')}"`)
  expect([none, WS_ALLOWED_ORIGINS]).toEqual([[], ['https://example.com']])
  for (const [name, value] of Object.entries(others ?? {})) expect(value, name).toMatch(/./)
  expect(shown.COINBASE_API_KEY).toContain('apiKeys')
  expect(shown.COINBASE_PRIVATE_KEY?.split('\n')).toHaveLength(4)
})

test('each seed has its own state folder', () => {
  expect(stateFolder({})).toBe(join(root, '.kerb'))
  expect(stateFolder({ KERB_STATE: '/state' })).toBe('/state')
  expect(stateFolder({ KERB_STATE: '/state', SEED: 'a/b' })).toBe('/state/seed-a%2Fb')
})
