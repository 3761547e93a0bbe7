import type { Canaries } from './canaries.ts'

/**
 * Data that was received. `to`: the user who sent the request, null if signed out. `sent`: the request. `echoes`: it may
 * repeat another user's data from the request, as an error or the form of a page does.
 */
export type Received = { to: string | null; where: string; text: string; sent: string; echoes: boolean }

/** Another user's data in a response. */
export type Leak = { where: string; to: string | null; of: string; canary: string; around: string }

/** The most leaks and faults that are reported in full. */
const MAX_REPORTED = 40
const CONTEXT_LENGTH = 160

/** Checks everything received for canaries of other users. */
export function createLeakDetector(all: Canaries) {
  const leaks: Leak[] = []
  const faults: string[] = []
  let counted = { leaks: 0, faults: 0, seen: 0, bytes: 0 }

  function around(text: string, canary: string): string {
    const at = text.toLowerCase().indexOf(canary)
    return at < 0 ? '(encoded)' : text.slice(Math.max(0, at - CONTEXT_LENGTH), at + canary.length + CONTEXT_LENGTH)
  }

  return {
    leaks,
    faults,
    /** `seen`: canaries returned to their owner. A detector that finds none of those would find no leak either. */
    get counts() {
      return counted
    },
    /** Returns the receiver's own canaries that were not part of the request. */
    check({ to, where, text, sent, echoes }: Received): string[] {
      const found = all.find(text)
      counted = { ...counted, bytes: counted.bytes + text.length }
      if (found.size === 0) return []
      const known = all.find(sent)
      const own: string[] = []
      for (const [canary, of] of found) {
        if (of === to) {
          if (!known.has(canary)) own.push(canary)
        } else if (!(echoes && known.has(canary))) {
          counted = { ...counted, leaks: counted.leaks + 1 }
          if (leaks.length < MAX_REPORTED) leaks.push({ where, to, of, canary, around: around(text, canary) })
        }
      }
      counted = { ...counted, seen: counted.seen + own.length }
      return own
    },
    /** Reports any other failure: a request that was not refused, or an error of the run itself. */
    fault(line: string): void {
      counted = { ...counted, faults: counted.faults + 1 }
      if (faults.length < MAX_REPORTED) faults.push(line)
    },
  }
}
export type LeakDetector = ReturnType<typeof createLeakDetector>
