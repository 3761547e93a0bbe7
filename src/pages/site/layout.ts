import { html, raw } from 'hono/html'
import type { HtmlEscapedString } from 'hono/utils/html'

/** Escaped HTML. */
export type Html = HtmlEscapedString | Promise<HtmlEscapedString>

/** What every page shows about its server. Every page names a simulated exchange as such. */
export type Site = { exchange: string; version: string }

/** A page without what all pages share. */
export type Page = {
  title: string
  /** By default the title. */
  description?: string
  /** The bundle in `public/app`. */
  script?: 'list' | 'product' | 'asset' | 'user' | 'stocks'
  content: Html
}

/** The exchange's name for people. */
export const exchangeName = (exchange: string): string =>
  exchange === 'simulated' ? 'Simulated exchange' : exchange.charAt(0).toUpperCase() + exchange.slice(1)

const exchangeBadge = (exchange: string): Html =>
  exchange === 'simulated'
    ? html`<p class="badge simulated"><strong>Simulated</strong><span class="wide"> exchange: not real prices</span></p>`
    : html`<p class="badge">${exchangeName(exchange)}</p>`

/** The state of the page's live connection. The page's script updates it. */
export const connectionBadge = (text = 'not connected'): Html =>
  html`<p id="connection" class="connection" role="status" data-state="none"><span class="text">${text}</span></p>`

/** Where the page's script writes what screen readers announce. */
export const announcements: Html = html`<p id="spoken" class="hidden" aria-live="polite"></p>`

/** The document of a page. */
export const layout = (site: Site, { title, description = title, script, content }: Page): Html => html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="theme-color" content="#ffffff" media="(prefers-color-scheme: light)">
<meta name="theme-color" content="#0e1013" media="(prefers-color-scheme: dark)">
<title>${title} · Kerb</title>
<meta name="description" content="${description}">
<link rel="icon" href="/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/app/kerb.css">
${script === undefined ? '' : raw(`<script type="module" src="/app/${script}.js"></script>`)}
</head>
<body>
<a class="skip" href="#content">Skip to content</a>
<header class="site">
  <a class="brand" href="/"><svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true"><path class="wick" d="M6 1v18M14 4v13"/><path class="down" d="M3.5 5h5v9h-5z"/><path class="up" d="M11.5 7h5v7h-5z"/></svg>Kerb</a>
  <nav aria-label="Site"><a href="/">Markets</a> <a href="/assets">Assets</a> <a href="/user">Account</a></nav>
  ${exchangeBadge(site.exchange)}
</header>
<main id="content">
${content}
</main>
<footer class="site">
  <p>All times UTC · Candles are built from trades · Kerb ${site.version}</p>
  <p><a href="/docs">API</a> <a href="/audit">Audit</a> <a href="/health">Health</a> <a href="https://www.tradingview.com/" rel="noopener">Charts by TradingView</a></p>
</footer>
</body>
</html>`
