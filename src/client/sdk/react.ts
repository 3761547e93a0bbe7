import { useEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import type { Position, Totals } from '../../protocol/portfolio.ts'
import { connectPortfolio, type Portfolio, type PortfolioConnection, type PortfolioOptions } from './portfolio.ts'
import type { PortfolioState } from './portfolio-state.ts'
import { browserDeps, type ClientDeps } from './stream.ts'

export type PortfolioUpdatesOptions = Pick<
  PortfolioOptions,
  'url' | 'token' | 'ticket' | 'mode' | 'intervalMs' | 'initial'
>

/** `portfolio` is null until it is known. `error` says why it is `stopped`, or what is wrong with the last poll. */
export type PortfolioUpdates = {
  portfolio: Totals | null
  positions: readonly Position[]
  status: PortfolioConnection['name']
  error: string | null
  /** Looks now instead of later. */
  refresh(): void
}

/**
 * The portfolio of who is signed in, as it moves, for as long as the component is there (brief 002). By default over a
 * socket, or every `intervalMs` (15,000) where there is none; with `mode: 'poll'` by polls alone. A position that has not
 * changed is the same object as before. On the server, and until something has come, it is `initial`.
 */
export function usePortfolioWithUpdates(
  options: PortfolioUpdatesOptions = {},
  deps: ClientDeps = browserDeps,
): PortfolioUpdates {
  const newest = useRef(options)
  useEffect(() => {
    newest.current = options
  })
  const { url, mode, intervalMs } = options
  // Another connection for another address, mode or interval; not for a function that was made anew.
  const store = useMemo(() => createStore({ url, mode, intervalMs }, newest, deps), [url, mode, intervalMs, deps])
  return useSyncExternalStore(store.subscribe, store.snapshot, store.first)
}

/** A connection that is open while somebody listens. */
function createStore(
  where: Pick<PortfolioUpdatesOptions, 'url' | 'mode' | 'intervalMs'>,
  options: { readonly current: PortfolioUpdatesOptions },
  deps: ClientDeps,
) {
  let connection: Portfolio | null = null
  const listeners = new Set<() => void>()
  const refresh = () => connection?.check()
  const { initial } = options.current
  const first: PortfolioUpdates = {
    portfolio: initial?.portfolio ?? null,
    positions: initial?.positions ?? [],
    status: 'connecting',
    error: null,
    refresh,
  }
  let updates = first

  function show(next: Partial<PortfolioUpdates>): void {
    updates = { ...updates, ...next }
    for (const listener of listeners) listener()
  }

  const known = ({ portfolio, positions }: Pick<PortfolioState, 'portfolio' | 'positions'>) =>
    updates.portfolio === portfolio && updates.positions === positions

  function connect(): Portfolio {
    const { ticket, token } = options.current
    const { portfolio, positions } = updates
    return connectPortfolio(
      {
        ...where,
        // The newest that were given: a component may make them anew whenever it is drawn.
        ...(token === undefined ? {} : { token: () => resolveToken(options.current) }),
        ...(ticket === undefined ? {} : { ticket: () => options.current.ticket?.() ?? Promise.resolve(null) }),
        ...(portfolio === null ? {} : { initial: { portfolio, positions } }),
        onChange(state) {
          if (!known(state)) show({ portfolio: state.portfolio, positions: state.positions })
        },
        onState: (state) => show({ status: state.name, error: errorText(state) }),
      },
      deps,
    )
  }

  return {
    first: () => first,
    snapshot: () => updates,
    subscribe(listener: () => void) {
      listeners.add(listener)
      connection ??= connect()
      return () => {
        listeners.delete(listener)
        if (listeners.size > 0) return
        connection?.close()
        connection = null
      }
    },
  }
}

const resolveToken = ({ token = '' }: PortfolioUpdatesOptions): string | Promise<string> =>
  typeof token === 'function' ? token() : token

function errorText(state: PortfolioConnection): string | null {
  if (state.name === 'polling') return state.error
  return state.name === 'stopped' ? state.reason : null
}
