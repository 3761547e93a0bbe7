import { useEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import type { Position, Totals } from '../../protocol/portfolio.ts'
import { connectPortfolio, type Portfolio, type PortfolioConnection, type PortfolioOptions } from './portfolio.ts'
import type { PortfolioState } from './portfolio-state.ts'
import { browserDeps, type ClientDeps } from './stream.ts'

export type PortfolioUpdatesOptions = Pick<
  PortfolioOptions,
  'url' | 'token' | 'ticket' | 'mode' | 'intervalMs' | 'initial'
>

/** `portfolio` is null until it is received. `error` is why the stream stopped, or the error of the last poll. */
export type PortfolioUpdates = {
  portfolio: Totals | null
  positions: readonly Position[]
  status: PortfolioConnection['name']
  error: string | null
  /** Reconnects or polls now instead of later. */
  refresh(): void
}

/**
 * The live portfolio of the signed-in user while the component is mounted. By default over a socket, or by polling every
 * `intervalMs` (15,000) where sockets are blocked; with `mode: 'poll'` by polling only. A position that does not change is
 * the same object as before. On the server, and until the first response, the portfolio is `initial`.
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
  // A new address, mode or interval needs a new connection; a new function does not.
  const store = useMemo(() => createStore({ url, mode, intervalMs }, newest, deps), [url, mode, intervalMs, deps])
  return useSyncExternalStore(store.subscribe, store.snapshot, store.first)
}

/** A store that is connected while it has listeners. */
function createStore(
  target: Pick<PortfolioUpdatesOptions, 'url' | 'mode' | 'intervalMs'>,
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

  const isShown = ({ portfolio, positions }: Pick<PortfolioState, 'portfolio' | 'positions'>) =>
    updates.portfolio === portfolio && updates.positions === positions

  function connect(): Portfolio {
    const { ticket, token } = options.current
    const { portfolio, positions } = updates
    return connectPortfolio(
      {
        ...target,
        // Through `options.current`, since a component may pass new functions on every render.
        ...(token === undefined ? {} : { token: () => resolveToken(options.current) }),
        ...(ticket === undefined ? {} : { ticket: () => options.current.ticket?.() ?? Promise.resolve(null) }),
        ...(portfolio === null ? {} : { initial: { portfolio, positions } }),
        onChange(state) {
          if (!isShown(state)) show({ portfolio: state.portfolio, positions: state.positions })
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
