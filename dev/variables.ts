import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseEnv } from 'node:util'

export const ROOT = join(import.meta.dirname, '..')

export type Variables = Record<string, string | undefined>

/** The variables of this machine: those of `.dev.vars`, and over them those of the environment. Empty is not set. */
export function readVariables(): Variables {
  const file = join(ROOT, '.dev.vars')
  const written = existsSync(file) ? parseEnv(readFileSync(file, 'utf8')) : {}
  const all = { ...written, ...process.env }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''))
}

/**
 * The folder of everything that a local run stores. A market of another seed is another market: what one has stored must
 * not be continued by the other.
 */
export function stateFolder({ KERB_STATE, SEED }: Variables): string {
  const folder = resolve(ROOT, KERB_STATE ?? '.kerb')
  return SEED === undefined ? folder : join(folder, `seed-${encodeURIComponent(SEED)}`)
}
