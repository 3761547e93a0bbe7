import type { Asset } from '../../protocol/asset.ts'

/** Pause after the last key before the search starts. */
const DEBOUNCE_MS = 200
const MAX_SUGGESTIONS = 10

/**
 * Suggests assets in the symbol field, by the symbol or name that the user types. Without suggestions the field accepts any
 * symbol.
 */
export function suggestSymbols(): void {
  const field = document.querySelector<HTMLInputElement>('input[list=symbols]')
  const list = document.getElementById('symbols')
  if (!field || !list) return
  let timer: ReturnType<typeof setTimeout> | undefined
  let searches = 0
  const suggest = () => {
    clearTimeout(timer)
    const typed = field.value.trim()
    const search = ++searches
    if (typed === '') return
    timer = setTimeout(() => {
      searchAssets(typed)
        .then((assets) => {
          if (search === searches) list.replaceChildren(...assets.map((asset) => toOption(asset, assets)))
        })
        .catch((error) => console.warn(error))
    }, DEBOUNCE_MS)
  }
  field.addEventListener('input', suggest)
  // The user may have typed before this script ran.
  if (document.activeElement === field) suggest()
}

async function searchAssets(typed: string): Promise<Asset[]> {
  const query = new URLSearchParams({ q: typed, limit: String(MAX_SUGGESTIONS) })
  const response = await fetch(`/api/v1/assets?${query}`)
  if (!response.ok) throw new Error(`the search failed with status ${response.status}`)
  return ((await response.json()) as { assets: Asset[] }).assets
}

/** An option with the asset's symbol, or with its provider's id if several suggestions share the symbol. */
function toOption(asset: Asset, suggestions: readonly Asset[]): HTMLOptionElement {
  const isUnique = suggestions.filter(({ symbol }) => symbol === asset.symbol).length === 1
  const option = document.createElement('option')
  option.value = isUnique ? asset.symbol : `${asset.provider}:${asset.provider_id}`
  option.label = `${asset.symbol}, ${asset.name}, ${asset.currency}`
  return option
}
