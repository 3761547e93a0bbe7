import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { buildClient, formatBuildError } from '../../dev/build.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** POST here answers when the browser's code is built. */
    clientBuildUrl: string
  }
}

/**
 * Builds the browser's code once a run, when the first server asks: a build under a server that runs would take its
 * files away, and tests of other projects, which end before, build too. Gives back how to end it.
 */
export default async function setup(project: TestProject): Promise<() => void> {
  let built: Promise<void> | null = null
  const server = createServer(async (_, response) => {
    built ??= buildClient()
    await built.then(
      () => response.end(),
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
