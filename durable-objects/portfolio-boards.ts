import { normalName, resolve, shardOf } from '../src/pricing/symbol.ts'
import type { Asset } from '../src/protocol/asset.ts'
import type { PortfolioPrice } from '../src/protocol/portfolio.ts'
import type { NamedAsset } from './portfolio-subscription.ts'
import type { Look, QuoteBoardObject } from './stubs.ts'

/** Boards that were asked so long ago are asked again when somebody comes: they may have given us up since. Milliseconds. */
const AGAIN_MS = 60_000

/** An asset to be followed. The symbol says which board has it; null: any may. */
export type Followed = { asset_id: number; symbol: string }

/** What boards have said that they tell, by shard, and when each was asked, unix milliseconds. */
export type Following = { [shard: string]: { ids: number[]; at: number } }

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
  hasPrice(id: number): boolean
  /** Prices of now. */
  learn(prices: PortfolioPrice[]): void
  /** Boards cannot be reached: what is known of these assets cannot be told as fresh. */
  lost(ids: readonly number[]): void
  findAssets(names: string[]): Promise<Asset[]>
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

/** Has the boards tell this user's object of the prices that it wants, and asks them what symbols mean. */
export class PortfolioBoards {
  readonly #host: BoardsHost
  #following: Following
  #asking: Promise<void> | null = null
  /** What boards have told while they were being asked: it is newer than their answers. */
  readonly #early: PortfolioPrice[] = []

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
  #due(): Map<number, number[]> {
    const { shards, wanted, now } = this.#host
    const byShard = new Map<number, number[]>()
    for (const shard of Object.keys(this.#following)) byShard.set(Number(shard), [])
    for (const [id, symbol] of wanted())
      for (const shard of symbol === null ? Array(shards).keys() : [shardOf(symbol, shards)])
        byShard.set(shard, [...(byShard.get(shard) ?? []), id])
    for (const [shard, ids] of byShard) {
      const before = this.#following[shard]
      const isSame = before?.ids.length === ids.length && new Set([...before.ids, ...ids]).size === ids.length
      if (before && isSame && now() - before.at < AGAIN_MS) byShard.delete(shard)
    }
    return byShard
  }

  async #ask(due: ReadonlyMap<number, number[]>): Promise<void> {
    const { user, board, now, log, learn, lost, hasPrice, wanted } = this.#host
    const at = now()
    const asked = [...due]
    const answers = await Promise.allSettled(asked.map(([shard, ids]) => board(shard).follow(user, ids)))
    const following = { ...this.#following }
    const prices: PortfolioPrice[] = []
    const unreached: number[] = []
    for (const [i, answer] of answers.entries()) {
      const [shard, ids] = asked[i] as [number, number[]]
      delete following[shard]
      if (answer.status === 'rejected') {
        log('board_unreached', { shard, error: String(answer.reason) })
        unreached.push(...ids)
      } else {
        prices.push(...answer.value)
        if (ids.length > 0) following[shard] = { ids, at }
      }
    }
    this.#save(following)
    learn(prices)
    lost(unreached)
    const symbols = wanted()
    const unpriced = [...new Set(asked.flatMap(([, ids]) => ids))].filter((id) => !hasPrice(id))
    this.#look(unpriced.flatMap((id) => symbols.get(id) ?? []))
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
