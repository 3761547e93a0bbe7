import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import chromium from '@sparticuz/chromium'
import type { TestProject } from 'vitest/node'
import { buildClient, formatBuildError } from '../../dev/build.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** POST here answers with the path of Chromium when that is unpacked and the browser's code is built. */
    clientBuildUrl: string
  }
}

/**
 * Builds the browser's code and unpacks Chromium once a run, when the first server or browser asks: a build under a
 * server that runs would take its files away, tests of other projects, which end before, build too, and a Chromium that
 * is unpacked by several files at once is started half unpacked. Returns the teardown.
 */
export default async function setup(project: TestProject): Promise<() => void> {
  let ready: Promise<string> | null = null
  const server = createServer(async (_, response) => {
    ready ??= Promise.all([chromium.executablePath(), buildClient()]).then(([path]) => path)
    await ready.then(
      (path) => response.end(path),
      (failure: unknown) => response.writeHead(500).end(formatBuildError(failure)),
    )
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  project.provide('clientBuildUrl', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  return () => {
    server.close()
    server.closeAllConnections()
  }
}
