import { DurableObject } from 'cloudflare:workers'

export class QuoteBoard extends DurableObject<Env> {}
