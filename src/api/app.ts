import { Hono } from 'hono'

/** The Worker's routes. */
export const app = new Hono<{ Bindings: Env }>()

app.get('/health', (c) => c.json({ status: 'ok' }))
