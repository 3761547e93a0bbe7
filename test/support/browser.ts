import { type Browser, chromium, type Page } from 'playwright-core'
import { inject } from 'vitest'

/** Starts the Chromium that npm brings, without a screen. It needs no installation and no network. */
export async function startBrowser(): Promise<Browser> {
  const unpacked = await fetch(inject('clientBuildUrl'), { method: 'POST' })
  if (!unpacked.ok) throw new Error(await unpacked.text())
  return chromium.launch({
    executablePath: await unpacked.text(),
    args: [
      '--no-sandbox',
      '--disable-quic',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

/** The errors of a page: uncaught ones, and errors and policy violations on its console. */
export function collectPageErrors(page: Page): string[] {
  const said: string[] = []
  page.on('pageerror', (error) => said.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error') said.push(message.text())
  })
  return said
}
