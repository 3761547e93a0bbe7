import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { ROOT } from './variables.ts'

/**
 * The files that the Worker's secrets come from, none where wrangler finds them by itself: where `.dev.vars` has no
 * secret of accounts, one of this state gives it. That is made once, since the keys in the database can be read by it
 * alone.
 */
export function secretFiles(state: string): string[] {
  const own = join(ROOT, '.dev.vars')
  const there = existsSync(own)
  if (there && parseEnv(readFileSync(own, 'utf8')).AUTH_SECRET) return []
  const made = join(state, 'secrets')
  if (!existsSync(made)) writeFileSync(made, `AUTH_SECRET=${randomBytes(32).toString('base64url')}\n`, { mode: 0o600 })
  return there ? [made, own] : [made]
}
