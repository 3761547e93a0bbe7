import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** How long a child may take over one request. */
const REQUEST_TIMEOUT_MS = 60_000

export type Child<Request> = {
  pid: number
  ask<Result = unknown>(request: Request extends { id: number } ? Omit<Request, 'id'> : never): Promise<Result>
  stop(): Promise<void>
}

type Reply = { id: number; result?: unknown; error?: string }

/** Starts a script of this folder in its own process; it answers each message with one of the same `id`. */
export function startChild<Request extends { id: number }>(script: string): Child<Request> {
  const child: ChildProcess = fork(join(import.meta.dirname, script), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const open = new Map<number, { done(result: unknown): void; fail(error: Error): void }>()
  let last = 0
  child.on('message', ({ id, result, error }: Reply) => {
    const asked = open.get(id)
    open.delete(id)
    if (error === undefined) asked?.done(result)
    else asked?.fail(new Error(error))
  })
  child.on('exit', (code) => {
    for (const { fail } of open.values()) fail(new Error(`${script} ended with ${code}`))
  })
  return {
    pid: child.pid as number,
    ask: <Result>(request: object) => {
      const id = ++last
      return new Promise<Result>((done, fail) => {
        const timer = setTimeout(
          () => fail(new Error(`${script} did not answer: ${JSON.stringify(request).slice(0, 200)}`)),
          REQUEST_TIMEOUT_MS,
        )
        const end = () => clearTimeout(timer)
        open.set(id, {
          done: (result) => {
            end()
            done(result as Result)
          },
          fail: (error) => {
            end()
            fail(error)
          },
        })
        child.send({ id, ...request })
      })
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
    },
  }
}

/** Resident memory of a process now, in bytes. Linux only. */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kilobytes) * 1024
}

/** Ticks of the kernel's process clock a second (USER_HZ): 100 on every Linux that Node runs on. */
const USER_HZ = 100

/** CPU microseconds that a process has used so far, all its threads, its own and the kernel's time. Linux only. */
export function cpuMicroseconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) / USER_HZ) * 1e6
}
