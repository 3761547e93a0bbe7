import type { Turn, World } from './ask.ts'
import { canaries } from './canaries.ts'
import { tryDatabase } from './database.ts'
import { type Drawing, drawing } from './draw.ts'
import { type Leak, openJudge } from './judge.ts'
import { OTHERS } from './others-requests.ts'
import { IDLE, type Kind, OWN, signIn } from './own-requests.ts'
import { newPerson, own, type Person } from './person.ts'
import { endSockets, noSockets, socketKinds } from './sockets.ts'
import { openStage, type Plant } from './stage.ts'
import { openWire } from './wire.ts'

export type SuiteOptions = {
  requests: number
  seed: number
  plant: Plant | null
  /** Progress, a line each. */
  tell: (line: string) => void
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

/** What the requests may take in all; what is not sent by then is a fault. */
const RUN_MS = 700_000

/** One canary of its owner in so many requests, at least: a search that finds less would find no leak either. */
const LEAST_SEEN = 2

async function signUp(world: World, person: Person): Promise<void> {
  const { email, password, name } = person
  const headers = { origin: world.stage.url, 'content-type': 'application/json' }
  const body = JSON.stringify({ email, password, name })
  const answer = await world.wire.ask({ method: 'POST', path: '/api/v1/auth/sign-up', headers, body })
  if (answer.status !== 202) throw new Error(`${person.tag} could not sign up: ${answer.status} ${answer.body}`)
  await signIn(world, person)
}

/** A user, what they do, and whose things they try. */
function turnOf(world: World, random: Drawing, sockets: readonly Kind[]): [Kind, Turn] {
  const busy = world.users.filter((user) => user.busy)
  const me = random.chance(0.15) ? random.pick(world.users) : random.pick(busy)
  const others = (random.chance(0.9) ? busy : world.users).filter((user) => user !== me)
  const kinds = random.weighed([
    { weight: 45, kinds: me.busy ? OWN : IDLE },
    { weight: 38, kinds: OTHERS },
    { weight: 17, kinds: sockets },
  ])
  return [random.weighed(kinds.kinds), { world, random, me, other: random.pick(others) }]
}

/** Runs the suite. Nothing that it starts outlives it. @throws Error when it cannot be brought up */
export async function runSuite({ requests, seed, plant, tell, signal }: SuiteOptions): Promise<Report> {
  const all = canaries()
  const judge = openJudge(all)
  const random = drawing(seed)
  const users = [
    newPerson('ada', random, ['EUR', 'USD'], true),
    newPerson('bob', random, ['CHF', 'GBP'], true),
    newPerson('nil', random, ['JPY', 'CAD'], false),
  ]
  for (const user of users) own(all, user)
  const stage = await openStage(plant)
  const wire = openWire(stage.url, CONNECTIONS)
  const sockets = noSockets()
  const world: World = { stage, wire, all, judge, users, left: Number.POSITIVE_INFINITY, tally: new Map() }
  try {
    for (const user of users) await signUp(world, user)
    for (const me of users.filter(({ busy }) => busy))
      for (const { run } of OWN.slice(0, 8)) for (let n = 0; n < 3; n++) await run({ world, random, me, other: me })
    tell(`${users.length} users have ${all.size} canaries`)

    world.left = requests
    const began = Date.now()
    const kinds = socketKinds(sockets)
    let told = requests
    const lane = async (number: number) => {
      const mine = drawing(seed, 1_000 + number)
      while (world.left > 0 && !signal?.aborted) {
        if (Date.now() - began > RUN_MS) {
          if (number === 0)
            judge.fault(`${world.left} of ${requests} requests were not sent within ${RUN_MS / 1_000} s`)
          return
        }
        const [kind, turn] = turnOf(world, mine, kinds)
        await kind.run(turn).catch((error: Error) => judge.fault(`the run itself: ${error.stack}`))
        if (told - world.left < 1_000) continue
        told = world.left
        const { leaks, seen } = judge.counts
        const seconds = Math.round((Date.now() - began) / 1_000)
        tell(`${requests - told} requests, ${sockets.frames} frames, ${leaks} leaks, ${seen} seen, ${seconds} s`)
      }
    }
    await Promise.all(Array.from({ length: LANES }, (_, number) => lane(number)))
    const sent = requests - world.left
    world.left = 0
    await endSockets(sockets)
    if (plant === 'rows') await stage.admin`ALTER TABLE activities DISABLE ROW LEVEL SECURITY`
    const seen = judge.counts.seen
    const statements = await tryDatabase(world)
    if (seen < requests * LEAST_SEEN)
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
export function table({ tally }: Report): string[] {
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
export const summary = (report: Report, seed: number): string => {
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
