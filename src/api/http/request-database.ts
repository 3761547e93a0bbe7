import type { MiddlewareHandler } from 'hono'
import { RequestDatabase } from '../../db/client.ts'
import type { AppEnv } from './context.ts'

/** Sets the request's database and closes it with the response. What a stream sends afterwards comes from objects. */
export const requestDatabase = (): MiddlewareHandler<AppEnv> =>
  async function requestDatabase(c, next) {
    const db = new RequestDatabase(c.env)
    c.set('db', db)
    try {
      await next()
    } finally {
      await db.close()
    }
  }
