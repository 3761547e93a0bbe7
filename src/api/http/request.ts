import type { Context } from 'hono'
import type { AppEnv, LookupScope, UserRequest } from './context.ts'
import { clientAddress } from './rate-limits.ts'

export const lookupScope = (c: Context<AppEnv>): LookupScope => ({ env: c.env, db: c.var.db, client: clientAddress(c) })

/** Only behind `requireUser` or `requireSignIn`. */
export const userRequest = (c: Context<AppEnv>): UserRequest => ({ ...lookupScope(c), user: c.var.user })
