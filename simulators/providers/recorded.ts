import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

type Body = Record<string, unknown>

/** Recordings of the real providers: entries by id, and whole charts by request. */
export type Recorded = {
  yahooQuote(symbol: string): Body | null
  yahooChart(symbol: string, query: URLSearchParams): { status: number; body: unknown } | null
  binanceTicker(symbol: string): Body | null
}

type RecordedExchange = { request?: { url?: string }; response?: { status?: number; bodyJson?: unknown } }

/** The parameters that identify a chart. */
const chartKey = (symbol: string, query: URLSearchParams): string =>
  [symbol, ...['interval', 'period1', 'period2'].map((name) => query.get(name) ?? '')].join(' ')

/** Reads `yahoo/*.json` (a request and its response each) and `binance/ticker24hr-*.json` (a body each) of a folder. */
export function readRecorded(folder: string): Recorded {
  const quotes = new Map<string, Body>()
  const charts = new Map<string, { status: number; body: unknown }>()
  const tickers = new Map<string, Body>()
  for (const [name, value] of readJsonFiles(join(folder, 'yahoo'))) {
    const { request, response } = value as RecordedExchange
    if (!request?.url || !response) throw new Error(`${name} is no recorded request`)
    const url = new URL(request.url)
    const status = response.status ?? 200
    const chart = /^\/v8\/finance\/chart\/([^/]+)$/.exec(url.pathname)?.[1]
    if (chart !== undefined)
      charts.set(chartKey(decodeURIComponent(chart), url.searchParams), { status, body: response.bodyJson })
    // One that was asked for some fields alone is no whole quote.
    if (url.pathname !== '/v7/finance/quote' || url.searchParams.has('fields')) continue
    const { quoteResponse } = response.bodyJson as { quoteResponse: { result: Body[] } }
    for (const quote of quoteResponse.result) quotes.set(String(quote.symbol), quote)
  }
  for (const [name, value] of readJsonFiles(join(folder, 'binance')))
    if (name.startsWith('ticker24hr')) tickers.set(String((value as Body).symbol), value as Body)
  return {
    yahooQuote: (symbol) => quotes.get(symbol) ?? null,
    yahooChart: (symbol, query) => charts.get(chartKey(symbol, query)) ?? null,
    binanceTicker: (symbol) => tickers.get(symbol) ?? null,
  }
}

function readJsonFiles(folder: string): [string, unknown][] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => [name, JSON.parse(readFileSync(join(folder, name), 'utf8'))])
}
