import { ambiguousMessage } from '../../src/pricing/symbol.ts'
import type { Candidate } from '../../src/protocol/asset.ts'
import type { ChannelError, ChannelFault } from '../../src/protocol/channel.ts'
import type { ClientMessage } from '../../src/protocol/messages.ts'
import type { AttachmentCodec, Connection } from './connection.ts'

export type SubscriptionMessage = Extract<ClientMessage, { channels: string[] }>

export type ChannelResult<S> = { subscription: S } | { error: ChannelError }

/**
 * What the channels of one object are and say. Frames are texts, each made once for all connections that get the same
 * (D1). `S` is a subscription to any number of channels. `P` is what has to be read before a subscription can be
 * answered, where not everything is in memory.
 */
export interface ChannelSource<S, P = never> extends AttachmentCodec<S> {
  /** The epoch of the stream, and the offset of the newest update. */
  readonly epoch: string
  readonly offset: number

  /** The subscription to nothing. */
  readonly none: S
  isEmpty(subscription: S): boolean
  merge(a: S, b: S): S
  channelNames(subscription: S): string[]
  /** The subscription to `channels`; one that cannot be had fails them all. */
  subscribe(before: S, channels: readonly string[], prepared: P | undefined): ChannelResult<S>
  /** What is left of `before` without `channels`. */
  unsubscribe(before: S, channels: readonly string[]): ChannelResult<S>
  /** Reads what `message` needs. Resolves to null if it cannot be read. @returns undefined if everything is in memory */
  prepare?(message: SubscriptionMessage, connection: Connection<S>): Promise<P | null> | undefined
  /** Publishes what is due, so that `position` covers it. */
  publishDue?(): void
  /** Called when a connection subscribes, unsubscribes or leaves, and when it is restored after a sleep. */
  onChange?(before: S, after: S, connection: Connection<S>): void

  /**
   * The latest state of everything that has changed after an offset, an empty list if nothing has; null where that is not
   * known any more.
   */
  updates(subscription: S, from: number): string[] | null
  /** The frames for a client that returns (D2), where they differ from `updates`; null: it gets a snapshot. */
  resume?(subscription: S, from: number): string[] | null
  /** The current state; null: `prepared` lacks what that needs. */
  snapshot(subscription: S, prepared: P | undefined): string[] | null
  /** Reads what a snapshot needs. */
  prepareSnapshot?(subscription: S): Promise<P>
  /** A frame that follows every `subscribed`. */
  statusFrame?(): string
}

/** The error of a channel whose symbol names no single asset. `unread`: the assets cannot be read at the moment. */
export function symbolFault(
  symbol: string,
  match: { kind: 'ambiguous'; candidates: readonly Candidate[] } | { kind: 'unknown' | 'moved' | 'unread' },
): ChannelFault {
  switch (match.kind) {
    case 'ambiguous':
      return { code: 'ambiguous_symbol', message: ambiguousMessage(symbol, match.candidates) }
    case 'unread':
      return { code: 'unavailable', message: `assets cannot be read at the moment, so ${symbol} is not known` }
    default:
      return { code: 'unknown_symbol', message: `no asset is called ${symbol}` }
  }
}
