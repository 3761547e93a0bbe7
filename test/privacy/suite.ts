import { createCanaries } from './canaries.ts'
import { checkDatabase } from './database.ts'
import { type Plant, startEnvironment } from './environment.ts'
import { createHttpClient } from './http-client.ts'
import { createLeakDetector, type Leak } from './leak-detector.ts'
import { OTHERS_REQUESTS } from './others-requests.ts'
import { IDLE_REQUESTS, OWN_REQUESTS, type RequestKind, signIn } from './own-requests.ts'
import { newPerson, type Person, registerCanaries } from './person.ts'
import { createRandom, type Random } from './random.ts'
import type { RunContext, Turn } from './send.ts'
import { emptySockets, endSockets, socketRequests } from './sockets.ts'

export type SuiteOptions = {
  requests: number
  seed: number
  plant: Plant | null
  /** Progress, a line each. */
  log: (line: string) => void
  signal?: AbortSignal
}

/** `seen`: canaries returned to their owner; `statements`: database statements tried without the Worker. */
export type Report = {
  requests: number
  frames: number
  users: number
  statements: number
  canaries: number
  seen: number
  bytes: number
  found: number
  leaks: Leak[]
  wrong: number
  faults: string[]
  tally: ReadonlyMap<string, number[]>
}

/** Concurrent requests, and the fewer connections that they share, so that each connection serves several users. */
const LANES = 6
const CONNECTIONS = 4

/** The timeout of a run; requests not sent by then are a fault. */
const RUN_TIMEOUT_MS = 700_000

/** The least canaries seen by their owner per request: a detector that finds fewer would miss leaks, too. */
const MIN_SEEN_PER_REQUEST = 2

async function signUp(world: RunContext, person: Person): Promise<void> {
  const { email, password, name } = person
  const headers = { origin: world.environment.url, 'content-type': 'application/json' }
  const body = JSON.stringify({ email, password, name })
  const response = await world.http.ask({ method: 'POST', path: '/api/v1/auth/sign-up', headers, body })
  if (response.status !== 202) throw new Error(`${person.tag} could not sign up: ${response.status} ${response.body}`)
  await signIn(world, person)
}

/** A user, their requests, and the user whose data they try to reach. */
function drawTurn(world: RunContext, random: Random, sockets: readonly RequestKind[]): [RequestKind, Turn] {
  const busy = world.users.filter((user) => user.busy)
  const me = random.chance(0.15) ? random.pick(world.users) : random.pick(busy)
  const others = (random.chance(0.9) ? busy : world.users).filter((user) => user !== me)
  const kinds = random.weighed([
    { weight: 45, kinds: me.busy ? OWN_REQUESTS : IDLE_REQUESTS },
    { weight: 38, kinds: OTHERS_REQUESTS },
    { weight: 17, kinds: sockets },
  ])
  return [random.weighed(kinds.kinds), { world, random, me, other: random.pick(others) }]
}

/** Runs the suite and stops everything that it started. @throws Error when the environment does not start */
export async function runSuite({ requests, seed, plant, log, signal }: SuiteOptions): Promise<Report> {
  const all = createCanaries()
  const detector = createLeakDetector(all)
  const random = createRandom(seed)
  const users = [
    newPerson('ada', random, ['EUR', 'USD'], true),
    newPerson('bob', random, ['CHF', 'GBP'], true),
    newPerson('nil', random, ['JPY', 'CAD'], false),
  ]
  for (const user of users) registerCanaries(all, user)
  const environment = await startEnvironment(plant)
  const http = createHttpClient(environment.url, CONNECTIONS)
  const sockets = emptySockets()
  const world: RunContext = {
    environment,
    http,
    canaries: all,
    detector,
    users,
    requestsLeft: Number.POSITIVE_INFINITY,
    tally: new Map(),
  }
  try {
    for (const user of users) await signUp(world, user)
    for (const me of users.filter(({ busy }) => busy))
      for (const { run } of OWN_REQUESTS.slice(0, 8))
        for (let n = 0; n < 3; n++) await run({ world, random, me, other: me })
    log(`${users.length} users have ${all.size} canaries`)

    world.requestsLeft = requests
    const began = Date.now()
    const kinds = socketRequests(sockets)
    let lastLogged = requests
    const lane = async (number: number) => {
      const laneRandom = createRandom(seed, 1_000 + number)
      while (world.requestsLeft > 0 && !signal?.aborted) {
        if (Date.now() - began > RUN_TIMEOUT_MS) {
          if (number === 0)
            detector.fault(
              `${world.requestsLeft} of ${requests} requests were not sent within ${RUN_TIMEOUT_MS / 1_000} s`,
            )
          return
        }
        const [kind, turn] = drawTurn(world, laneRandom, kinds)
        await kind.run(turn).catch((error: Error) => detector.fault(`the run itself: ${error.stack}`))
        if (lastLogged - world.requestsLeft < 1_000) continue
        lastLogged = world.requestsLeft
        const { leaks, seen } = detector.counts
        const seconds = Math.round((Date.now() - began) / 1_000)
        log(`${requests - lastLogged} requests, ${sockets.frames} frames, ${leaks} leaks, ${seen} seen, ${seconds} s`)
      }
    }
    await Promise.all(Array.from({ length: LANES }, (_, number) => lane(number)))
    const sent = requests - world.requestsLeft
    world.requestsLeft = 0
    await endSockets(sockets)
    if (plant === 'rows') await environment.admin`ALTER TABLE activities DISABLE ROW LEVEL SECURITY`
    const seen = detector.counts.seen
    const statements = await checkDatabase(world)
    if (seen < requests * MIN_SEEN_PER_REQUEST)
      detector.fault(`${seen} canaries were seen by their owners, too few to prove anything`)
    return {
      requests: sent,
      frames: sockets.frames,
      users: users.length,
      statements,
      canaries: all.size,
      seen,
      bytes: detector.counts.bytes,
      found: detector.counts.leaks,
      leaks: detector.leaks,
      wrong: detector.counts.faults,
      faults: detector.faults,
      tally: world.tally,
    }
  } finally {
    http.close()
    for (const { socket } of [...sockets.open]) socket.terminate()
    await environment.stop()
  }
}

/** A table of the kinds of requests and their numbers of responses by class of status, a line each. */
export function formatTable({ tally }: Report): string[] {
  const head = ['asked', '1xx', '2xx', '3xx', '4xx', '5xx']
  const rows = [...tally]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([what, counts]) => [what, ...counts.slice(1).map(String)])
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => (row[i] as string).length)))
  return [head, ...rows].map((row) =>
    row.map((text, i) => (i === 0 ? text.padEnd(widths[i] as number) : text.padStart(widths[i] as number))).join('  '),
  )
}

/** The last line of the suite's output. */
export const formatSummary = (report: Report, seed: number): string => {
  const { requests, frames, users, statements, seen, found, wrong } = report
  return JSON.stringify({
    suite: 'privacy',
    requests,
    frames,
    users,
    statements,
    seen,
    leaks: found,
    faults: wrong,
    seed,
  })
}
