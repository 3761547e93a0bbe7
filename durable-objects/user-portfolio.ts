import { DurableObject } from 'cloudflare:workers'
import type { PortfolioPrice } from '../src/protocol/portfolio.ts'
import type { PortfolioChange, PortfolioStatus, UserPortfolioObject } from './stubs.ts'

/** One user: sockets, what they are sent, and the portfolio as it was valued last. */
export class UserPortfolio extends DurableObject<Env> implements UserPortfolioObject {
  override async fetch(_request: Request): Promise<Response> {
    throw new Error('not made yet')
  }
  async ticket(_until: number): Promise<string> {
    throw new Error('not made yet')
  }
  async redeem(_ticket: string): Promise<number | null> {
    throw new Error('not made yet')
  }
  async enriched(): Promise<string | null> {
    throw new Error('not made yet')
  }
  async requestRefresh(): Promise<boolean> {
    throw new Error('not made yet')
  }
  async refresh(): Promise<void> {}
  async changed(_change: PortfolioChange): Promise<void> {}
  async prices(_prices: PortfolioPrice[]): Promise<boolean> {
    return false
  }
  async signedOut(): Promise<void> {}
  async status(): Promise<PortfolioStatus> {
    return { sockets: 0, positions: 0, version: 0, loads: 0, position: '' }
  }
}
