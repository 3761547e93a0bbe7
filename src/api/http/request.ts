import type { Context } from 'hono'
import type { AppEnv, AppRequest, UserRequest } from './context.ts'
import { clientAddress } from './rate-limits.ts'

export const appRequest = (c: Context<AppEnv>): AppRequest => ({ env: c.env, db: c.var.db, client: clientAddress(c) })

/** Only behind `requireUser` or `requireSignIn`. */
export const userRequest = (c: Context<AppEnv>): UserRequest => ({ ...appRequest(c), user: c.var.user })
