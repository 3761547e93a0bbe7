import type { Look, QuoteBoardObject } from '../../src/objects.ts'
import { normalName, resolve, shardOf } from '../../src/pricing/symbol.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import type { StaleReason } from '../../src/protocol/quote.ts'
import type { NamedAsset } from './subscription.ts'

/** Boards that were asked so long ago are asked again when somebody comes: they may have given us up since. Milliseconds. */
const AGAIN_MS = 60_000

/** Pause before boards that could not be reached are asked again: doubles from the first to the last, milliseconds. */
const RETRY_MIN_MS = 1_000
const RETRY_MAX_MS = 60_000

/** What boards have said that they tell, by shard, and when each was asked, unix milliseconds. */
export type Following = { [shard: string]: { ids: number[]; watched?: number[]; at: number } }

/** What a board is asked to tell; `watched` are those that a page has open, though nothing of them is held. */
type Asked = { ids: number[]; watched: number[] }

/** What following needs of the object that holds it. Times are unix milliseconds. */
export type BoardsHost = {
  user: string
  shards: number
  following: Following
  now(): number
  board(shard: number): Pick<QuoteBoardObject, 'follow' | 'look'>
  /** Keeps what boards tell. */
  save(following: Following): void
  /** The assets whose prices are wanted, with their symbols where those are known. */
  wanted(): ReadonlyMap<number, string | null>
  /** Those among them that a page has open though nothing of them is held. */
  watched(): ReadonlySet<number>
  /** Prices of now. */
  learn(prices: PortfolioPrice[]): void
  /** What is known of these assets cannot be told as fresh: boards cannot be reached, or know nothing of them. */
  lost(ids: readonly number[], stale: StaleReason): void
  findAssets(names: string[]): Promise<Asset[]>
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

const sameIds = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && new Set([...a, ...b]).size === a.length

/** Has the boards tell this user's object of the prices that it wants, and asks them what symbols mean. */
export class PortfolioBoards {
  readonly #host: BoardsHost
  #following: Following
  #asking: Promise<void> | null = null
  /** What boards have told while they were being asked: it is newer than their answers. */
  readonly #early: PortfolioPrice[] = []
  /** When boards that could not be reached are asked again, and the pause after that. */
  #retryAt = Number.POSITIVE_INFINITY
  #pause = RETRY_MIN_MS

  constructor(host: BoardsHost) {
    this.#host = host
    this.#following = host.following
  }

  /** Prices that a board has told by itself. */
  told(prices: PortfolioPrice[]): void {
    if (this.#asking) this.#early.push(...prices)
    else this.#host.learn(prices)
  }

  /** Nobody looks any more: the boards are told so when they tell something. */
  stop(): void {
    if (Object.keys(this.#following).length > 0) this.#save({})
  }

  /** When `follow` is to be called, as boards could not be reached; infinite when they could. */
  get due(): number {
    return this.#asking ? Number.POSITIVE_INFINITY : this.#retryAt
  }

  #save(following: Following): void {
    this.#following = following
    this.#host.save(following)
  }

  /** Sees to it that the boards tell what is wanted, and takes in what they know of it now. Never rejects. */
  async follow(): Promise<void> {
    while (this.#asking) await this.#asking
    const due = this.#due()
    if (due.size === 0) return
    this.#asking = this.#ask(due).finally(() => {
      this.#asking = null
      const early = this.#early.splice(0)
      if (early.length > 0) this.#host.learn(early)
    })
    await this.#asking
  }

  /** The boards that are to be asked, and for what. */
  #due(): Map<number, Asked> {
    const { shards, wanted, watched, now } = this.#host
    const byShard = new Map<number, Asked>()
    const askedOf = (shard: number): Asked => {
      const asked = byShard.get(shard) ?? { ids: [], watched: [] }
      byShard.set(shard, asked)
      return asked
    }
    for (const shard of Object.keys(this.#following)) askedOf(Number(shard))
    const open = watched()
    for (const [id, symbol] of wanted())
      for (const shard of symbol === null ? Array(shards).keys() : [shardOf(symbol, shards)]) {
        const asked = askedOf(shard)
        asked.ids.push(id)
        if (open.has(id)) asked.watched.push(id)
      }
    for (const [shard, asked] of byShard) {
      const before = this.#following[shard]
      const isSame = before && sameIds(before.ids, asked.ids) && sameIds(before.watched ?? [], asked.watched)
      if (isSame && now() - before.at < AGAIN_MS) byShard.delete(shard)
    }
    return byShard
  }

  async #ask(due: ReadonlyMap<number, Asked>): Promise<void> {
    const { user, board, now, log, learn, lost, wanted } = this.#host
    const at = now()
    const asked = [...due]
    const answers = await Promise.allSettled(
      asked.map(([shard, { ids, watched }]) => board(shard).follow(user, ids, watched)),
    )
    const following = { ...this.#following }
    const prices: PortfolioPrice[] = []
    const unreached = new Set<number>()
    for (const [i, answer] of answers.entries()) {
      const [shard, { ids, watched }] = asked[i] as [number, Asked]
      delete following[shard]
      if (answer.status === 'rejected') {
        log('board_unreached', { shard, error: String(answer.reason) })
        for (const id of ids) unreached.add(id)
      } else {
        prices.push(...answer.value)
        if (ids.length > 0) following[shard] = { ids, watched, at }
      }
    }
    this.#save(following)
    this.#planRetry(unreached.size > 0)
    // Where no board has answered, nothing was heard.
    if (answers.some(({ status }) => status === 'fulfilled')) learn(prices)
    lost([...unreached], 'unavailable')
    const told = new Set(prices.map(({ asset_id }) => asset_id))
    const all = new Set(asked.flatMap(([, { ids }]) => ids))
    const unpriced = [...all].filter((id) => !told.has(id) && !unreached.has(id))
    lost(unpriced, 'unknown')
    const symbols = wanted()
    this.#look(unpriced.flatMap((id) => symbols.get(id) ?? []))
  }

  #planRetry(isBehind: boolean): void {
    this.#retryAt = isBehind ? this.#host.now() + this.#pause : Number.POSITIVE_INFINITY
    this.#pause = isBehind ? Math.min(RETRY_MAX_MS, this.#pause * 2) : RETRY_MIN_MS
  }

  /** Has the boards ask for prices that nobody knows yet; they come when they are there. */
  #look(symbols: readonly string[]): void {
    const { shards, board, track, log } = this.#host
    const byShard = Map.groupBy(symbols, (symbol) => shardOf(symbol, shards))
    for (const [shard, names] of byShard) {
      const looked = board(shard).look(names)
      track(looked.catch((error: unknown) => log('board_unreached', { shard, error: String(error) })))
    }
  }

  /** What symbols mean that nothing is held under. Rejects when a board cannot be reached. */
  async find(symbols: readonly string[]): Promise<Map<string, NamedAsset>> {
    const found = new Map<string, NamedAsset>()
    const asked: string[] = []
    for (const symbol of new Set(symbols))
      if (normalName(symbol) === symbol) asked.push(symbol)
      else found.set(symbol, { kind: 'unknown' })
    const looks = await this.#looks(asked)
    const elsewhere = new Map(looks.flatMap((look) => (look.kind === 'moved' ? [[look.symbol, look.name]] : [])))
    const moved = await this.#looks([...elsewhere.keys()])
    const names = moved.map((look) => ({ ...look, name: elsewhere.get(look.name) as string }))
    const all = [...looks.filter(({ kind }) => kind !== 'moved'), ...names]
    // Of what has no price a board tells no number.
    const unpriced = all.flatMap((look) => (look.kind === 'unpriced' ? [look.name] : []))
    const assets = unpriced.length === 0 ? [] : await this.#host.findAssets(unpriced)
    for (const look of all) found.set(look.name, namedBy(look, assets))
    return found
  }

  async #looks(names: readonly string[]): Promise<Look[]> {
    const byShard = Map.groupBy(names, (name) => shardOf(name, this.#host.shards))
    const looks = await Promise.all([...byShard].map(([shard, asked]) => this.#host.board(shard).look(asked)))
    return looks.flat()
  }
}

function namedBy(look: Look, assets: readonly Asset[]): NamedAsset {
  if (look.kind === 'quote') return { kind: 'asset', asset_id: look.quote.asset_id, symbol: look.quote.symbol }
  if (look.kind === 'ambiguous') return look
  if (look.kind !== 'unpriced') return { kind: 'unknown' }
  const found = resolve(look.name, assets)
  return found.kind === 'one'
    ? { kind: 'asset', ...found.asset }
    : { kind: found.kind === 'none' ? 'unknown' : 'unread' }
}
