import type { ProviderFault } from './faults.ts'
import type { InstrumentQuote, PriceSetting, ProviderMarket, SimulatedProviderName } from './provider-market.ts'
import type { ProviderRequest, RequestCounts, RequestFilter } from './requests.ts'

export type Providers = {
  port: number
  /** Base of the control paths: `/_requests`, `/_faults`, `/_prices`. */
  url: string
  /** The base URL of each provider. */
  urls: Record<SimulatedProviderName, string>
  now(): number
  /** Stands until it is used up or cleared. @throws ZodError on a fault of no known shape. */
  fault(fault: ProviderFault): void
  clearFaults(provider?: SimulatedProviderName): void
  faults(): object[]
  /** Sets a price, a state, a currency by hand. @throws ZodError on bad input. */
  setPrice(setting: PriceSetting): void
  clearPrices(): void
  /** A provider's present quote of an id; null: it does not know the id. */
  view(provider: SimulatedProviderName, id: string): InstrumentQuote | null
  /** The last requests, oldest first. */
  requests(filter?: RequestFilter): ProviderRequest[]
  /** All since the start or the last clearing. */
  counts(): Record<SimulatedProviderName, RequestCounts>
  clearRequests(): void
  board: ProviderMarket
  close(): Promise<void>
}
