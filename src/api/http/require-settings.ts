import type { MiddlewareHandler } from 'hono'
import { readSettings } from '../../config.ts'
import { log } from '../../log.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from './context.ts'

/** Refuses every request while settings are invalid. Which ones is only in the log: their values are not for clients. */
export const requireSettings = (): MiddlewareHandler<AppEnv> =>
  async function requireSettings(c, next) {
    try {
      readSettings(c.env)
    } catch (error) {
      log('settings_invalid', { error: error instanceof Error ? error.message : String(error) })
      throw new CodedError('internal', 'The server is misconfigured; see its log.')
    }
    await next()
  }
