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

/** `seen`: canaries that came back to whom they belong; `statements`: those of the database, past the Worker. */
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

/** Requests at once, and the connections that they share: fewer, so that users follow each other on each. */
const LANES = 6
const CONNECTIONS = 4

/** The timeout of all requests; one that is not sent by then is a fault. */
const RUN_TIMEOUT_MS = 700_000

/** One canary of its owner in so many requests, at least: a search that finds less would find no leak either. */
const MIN_SEEN_PER_REQUEST = 2

async function signUp(world: RunContext, person: Person): Promise<void> {
  const { email, password, name } = person
  const headers = { origin: world.stage.url, 'content-type': 'application/json' }
  const body = JSON.stringify({ email, password, name })
  const answer = await world.wire.ask({ method: 'POST', path: '/api/v1/auth/sign-up', headers, body })
  if (answer.status !== 202) throw new Error(`${person.tag} could not sign up: ${answer.status} ${answer.body}`)
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

/** Runs the suite. Nothing that it starts outlives it. @throws Error when it cannot be brought up */
export async function runSuite({ requests, seed, plant, log: tell, signal }: SuiteOptions): Promise<Report> {
  const all = createCanaries()
  const judge = createLeakDetector(all)
  const random = createRandom(seed)
  const users = [
    newPerson('ada', random, ['EUR', 'USD'], true),
    newPerson('bob', random, ['CHF', 'GBP'], true),
    newPerson('nil', random, ['JPY', 'CAD'], false),
  ]
  for (const user of users) registerCanaries(all, user)
  const stage = await startEnvironment(plant)
  const wire = createHttpClient(stage.url, CONNECTIONS)
  const sockets = emptySockets()
  const world: RunContext = {
    stage,
    wire,
    canaries: all,
    judge,
    users,
    requestsLeft: Number.POSITIVE_INFINITY,
    tally: new Map(),
  }
  try {
    for (const user of users) await signUp(world, user)
    for (const me of users.filter(({ busy }) => busy))
      for (const { run } of OWN_REQUESTS.slice(0, 8))
        for (let n = 0; n < 3; n++) await run({ world, random, me, other: me })
    tell(`${users.length} users have ${all.size} canaries`)

    world.requestsLeft = requests
    const began = Date.now()
    const kinds = socketRequests(sockets)
    let told = requests
    const lane = async (number: number) => {
      const mine = createRandom(seed, 1_000 + number)
      while (world.requestsLeft > 0 && !signal?.aborted) {
        if (Date.now() - began > RUN_TIMEOUT_MS) {
          if (number === 0)
            judge.fault(
              `${world.requestsLeft} of ${requests} requests were not sent within ${RUN_TIMEOUT_MS / 1_000} s`,
            )
          return
        }
        const [kind, turn] = drawTurn(world, mine, kinds)
        await kind.run(turn).catch((error: Error) => judge.fault(`the run itself: ${error.stack}`))
        if (told - world.requestsLeft < 1_000) continue
        told = world.requestsLeft
        const { leaks, seen } = judge.counts
        const seconds = Math.round((Date.now() - began) / 1_000)
        tell(`${requests - told} requests, ${sockets.frames} frames, ${leaks} leaks, ${seen} seen, ${seconds} s`)
      }
    }
    await Promise.all(Array.from({ length: LANES }, (_, number) => lane(number)))
    const sent = requests - world.requestsLeft
    world.requestsLeft = 0
    await endSockets(sockets)
    if (plant === 'rows') await stage.admin`ALTER TABLE activities DISABLE ROW LEVEL SECURITY`
    const seen = judge.counts.seen
    const statements = await checkDatabase(world)
    if (seen < requests * MIN_SEEN_PER_REQUEST)
      judge.fault(`${seen} canaries were seen by their owners: nothing is shown by that`)
    return {
      requests: sent,
      frames: sockets.frames,
      users: users.length,
      statements,
      canaries: all.size,
      seen,
      bytes: judge.counts.bytes,
      found: judge.counts.leaks,
      leaks: judge.leaks,
      wrong: judge.counts.faults,
      faults: judge.faults,
      tally: world.tally,
    }
  } finally {
    wire.close()
    for (const { socket } of [...sockets.open]) socket.terminate()
    await stage.stop()
  }
}

/** What was asked, a line each, and how often it was answered by which hundreds of statuses. */
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
