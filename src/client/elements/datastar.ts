import { apply, load } from '@starfederation/datastar'
import { GET, MergeFragments, MergeSignals, RemoveFragments, RemoveSignals } from '@starfederation/datastar/plugins'
import {
  type AttributePlugin,
  type InitContext,
  PluginType,
  Requirement,
  type WatcherPlugin,
} from '@starfederation/datastar/types'
import { type EngineEvent, translateElements, translateSignals } from './datastar-events.ts'

/** The engine's own channel: every event of a stream arrives on the document under this name. */
const ENGINE_EVENT = 'datastar-sse'

type EngineDetail = { type: string; elId: string; argsRaw: Record<string, string> }

function redispatch(events: readonly EngineEvent[], elId: string): void {
  for (const { type, args } of events)
    (document as unknown as EventTarget).dispatchEvent(
      new CustomEvent<EngineDetail>(ENGINE_EVENT, { detail: { type, elId, argsRaw: args } }),
    )
}

/**
 * The 1.0 events for the engine that npm has (1.0.0-beta.11 knows their older names): each is told again as the older
 * events that do the same, and the engine's own morph does the work.
 */
const patches: WatcherPlugin = {
  type: PluginType.Watcher,
  name: 'patches',
  onGlobalInit: () => {
    ;(document as unknown as EventTarget).addEventListener(ENGINE_EVENT, (event) => {
      const { type, elId, argsRaw } = (event as CustomEvent<EngineDetail>).detail
      if (type === 'datastar-patch-elements') redispatch(translateElements(argsRaw, elementsOf), elId)
      else if (type === 'datastar-patch-signals') redispatch(translateSignals(argsRaw), elId)
    })
  },
}

/** The top elements of a piece of HTML, and whether the document has a place for each. */
function elementsOf(html: string): { html: string; id: string; known: boolean }[] {
  const template = document.createElement('template')
  template.innerHTML = html
  return [...template.content.children].map((element) => ({
    html: element.outerHTML,
    id: element.id,
    known: element.id !== '' && document.getElementById(element.id) !== null,
  }))
}

const RETRY_MIN_MS = 1_000
const RETRY_MAX_MS = 30_000
/** A stream that held this long was a good one. */
const MIN_UPTIME_MS = 10_000

/**
 * `data-stream="/path"` keeps an event stream open for as long as its element is there. It is `@get` without an
 * expression: expressions are compiled with `Function`, which a policy without `unsafe-eval` forbids. And it comes back
 * after any end: the engine alone takes a stream that the server ended, or a 429, for the answer.
 */
const stream: AttributePlugin = {
  type: PluginType.Attribute,
  name: 'stream',
  keyReq: Requirement.Denied,
  valReq: Requirement.Must,
  onLoad: (context) => {
    const abort = new AbortController()
    const get = (context as InitContext).actions.get!
    const run = async () => {
      for (let attempt = 0; !abort.signal.aborted; attempt++) {
        const began = performance.now()
        try {
          await get.fn(context, context.value, { abort: abort.signal, retryMaxCount: Number.POSITIVE_INFINITY })
        } catch (error) {
          console.warn(error)
        }
        if (performance.now() - began > MIN_UPTIME_MS) attempt = 0
        const pause = Math.random() * Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** attempt)
        await new Promise((resolve) => setTimeout(resolve, pause))
      }
    }
    void run()
    return () => abort.abort()
  },
}

/** Starts the engine on this document, with the plugins that streams of patches need and no more. */
export function startDatastar(): void {
  load(GET, MergeFragments, MergeSignals, RemoveFragments, RemoveSignals, patches, stream)
  apply()
}
