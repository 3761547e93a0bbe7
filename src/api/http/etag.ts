import type { Context } from 'hono'
import { sha256 } from '../../auth/digest.ts'
import type { AppEnv } from './context.ts'

/** A tag of a text: the same for the same one. `version` stands at its beginning. */
async function computeEtag(text: string, version: string): Promise<string> {
  return `"${version}${(await sha256(text)).slice(0, 24)}"`
}

/** Whether a client has what the tag stands for. */
const matchesEtag = (ifNoneMatch: string, tag: string): boolean =>
  ifNoneMatch.split(',').some((held) => held.trim() === '*' || held.trim().replace(/^W\//, '') === tag)

/** Answers with JSON text and its tag, or with 304 and no body where the client has it. */
export async function jsonWithEtag(
  c: Context<AppEnv>,
  text: string,
  { version, cacheControl }: { version: string; cacheControl: string },
): Promise<Response> {
  const etag = await computeEtag(text, version)
  const headers = { etag, 'cache-control': cacheControl }
  if (matchesEtag(c.req.header('if-none-match') ?? '', etag)) return c.body(null, 304, headers)
  return c.body(text, 200, { ...headers, 'content-type': 'application/json' })
}
