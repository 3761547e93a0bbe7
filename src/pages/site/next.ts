/**
 * Where a visitor goes after signing in: a path of the signed-in area, or null for anything else. What a link says must
 * not lead to another site (`//host`, `/\host`), nor to what acts.
 */
export function safeNext(given: string | null | undefined): string | null {
  if (given === null || given === undefined || !/^\/user(?:[/?][\x21-\x5b\x5d-\x7e]*)?$/.test(given)) return null
  const { origin, pathname, search } = new URL(given, 'http://kerb.invalid')
  if (origin !== 'http://kerb.invalid') return null
  return pathname === '/user' || pathname.startsWith('/user/') ? `${pathname}${search}` : null
}
