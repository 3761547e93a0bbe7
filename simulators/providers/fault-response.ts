import type { ParsedFault } from './faults.ts'
import type { ProviderMarket, SimulatedProviderName } from './provider-market.ts'
import type { ProviderResponse, SimulatedProvider } from './simulated-provider.ts'

export type Poison = Extract<ParsedFault, { kind: 'poison' }>

/** Texts that stand where a price should. */
const POISONED_PRICES = { NaN: 'NaN', negative: -5, zero: 0, text: 'n/a' } as const

/** The true answer, with what is poisoned in it; what was set by hand before stands again afterwards. */
export function applyPoison(
  board: ProviderMarket,
  provider: SimulatedProviderName,
  poisons: readonly Poison[],
  answer: () => ProviderResponse,
): ProviderResponse {
  const before = poisons.map(({ id }) => {
    const { price = null, unknown = null } = board.setting(provider, id)
    return { id, provider, price, unknown }
  })
  for (const { id, effect } of poisons)
    if (effect === 'missing') board.set({ provider, id, unknown: true })
    else if (effect !== 'breaks') board.set({ provider, id, price: POISONED_PRICES[effect] })
  try {
    return answer()
  } finally {
    for (const setting of before) board.set(setting)
  }
}

/** The response of a fault; null where the response stays the correct one. */
export function faultResponse(fault: ParsedFault, provider: SimulatedProvider): ProviderResponse | null {
  switch (fault.kind) {
    case '429':
      return provider.tooManyRequests(fault.retryAfter)
    case '418':
      return { ...provider.tooManyRequests(fault.retryAfter), status: 418 }
    case '500':
      return {
        status: fault.status,
        body: '<html><body>Server Error</body></html>',
        headers: { 'content-type': 'text/html' },
      }
    case 'body':
      return wrongBody(fault.body, provider.emptyBody)
    case 'poison':
      return fault.effect === 'breaks' ? provider.rejectBatch(fault.status) : null
    default:
      return null
  }
}

function wrongBody(kind: Extract<ParsedFault, { kind: 'body' }>['body'], emptyBody: unknown): ProviderResponse {
  const headers = { 'content-type': 'text/html; charset=utf-8' }
  switch (kind) {
    case 'text':
      return { status: 200, body: 'Will be right back...' }
    case 'cut':
      return { status: 200, body: '{"quoteResponse":{"result":[{"symbol":"AAPL","regularMarketPrice":2' }
    case 'html':
      return { status: 200, body: '<!DOCTYPE html><html><body>Maintenance</body></html>', headers }
    case 'empty':
      return { status: 200, body: '' }
    case 'none':
      return { status: 200, body: emptyBody }
    case 'schema':
      return { status: 200, body: { surprise: [{ price: 'NaN', symbol: null }] } }
  }
}
