import type { Asset } from '../../protocol/asset.ts'

/** Typing goes on for so long before it is asked what is meant, milliseconds. */
const DEBOUNCE_MS = 200
const MAX_SUGGESTIONS = 10

/**
 * Has the field for a symbol suggest the assets whose symbol or name fits what is typed. Without it the field takes a
 * symbol as it is typed; so it does where nothing can be found.
 */
export function suggestSymbols(): void {
  const field = document.querySelector<HTMLInputElement>('input[list=symbols]')
  const list = document.getElementById('symbols')
  if (!field || !list) return
  let timer: ReturnType<typeof setTimeout> | undefined
  let turn = 0
  const suggest = () => {
    clearTimeout(timer)
    const typed = field.value.trim()
    const mine = ++turn
    if (typed === '') return
    timer = setTimeout(() => {
      searchAssets(typed)
        .then((assets) => {
          if (mine === turn) list.replaceChildren(...assets.map((asset) => toOption(asset, assets)))
        })
        .catch((error) => console.warn(error))
    }, DEBOUNCE_MS)
  }
  field.addEventListener('input', suggest)
  // Somebody may type sooner than scripts come.
  if (document.activeElement === field) suggest()
}

async function searchAssets(typed: string): Promise<Asset[]> {
  const query = new URLSearchParams({ q: typed, limit: String(MAX_SUGGESTIONS) })
  const response = await fetch(`/api/v1/assets?${query}`)
  if (!response.ok) throw new Error(`the search answered ${response.status}`)
  return ((await response.json()) as { assets: Asset[] }).assets
}

/** Of several with one symbol each is meant by its provider's name for it. */
function toOption(asset: Asset, among: readonly Asset[]): HTMLOptionElement {
  const alone = among.filter(({ symbol }) => symbol === asset.symbol).length === 1
  const option = document.createElement('option')
  option.value = alone ? asset.symbol : `${asset.provider}:${asset.provider_id}`
  option.label = `${asset.symbol}, ${asset.name}, ${asset.currency}`
  return option
}
