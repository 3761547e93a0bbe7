import { DurableObject } from 'cloudflare:workers'

export class ProviderGate extends DurableObject<Env> {}
