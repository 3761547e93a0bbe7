/**
 * A place in the stream of one object (D2). The epoch changes whenever continuity cannot be proven; offsets rise by one
 * with each update.
 */
export type StreamPosition = { epoch: string; offset: number }

const POSITION_PATTERN = /^([a-z0-9]{1,32})-(\d{1,15})$/

/** Longest joined position that can be resumed from; a client with a longer one gets a snapshot. */
export const MAX_STREAM_POSITION_CHARS = 8_192

export const formatStreamPosition = (position: StreamPosition): string => `${position.epoch}-${position.offset}`

/** Parses `<epoch>-<offset>`; anything else gives null. */
export function parseStreamPosition(text: string): StreamPosition | null {
  const match = POSITION_PATTERN.exec(text)
  return match ? { epoch: match[1] as string, offset: Number(match[2]) } : null
}

/** The offset that a position of this stream names; null for any other text, and for an offset that is still ahead. */
export function offsetInStream(text: string, stream: StreamPosition): number | null {
  const position = parseStreamPosition(text)
  return position?.epoch === stream.epoch && position.offset <= stream.offset ? position.offset : null
}

/** `key:epoch-offset`, joined by commas: the positions in the streams of several objects. */
export const joinStreamPositions = (positions: ReadonlyMap<string, string>): string =>
  [...positions].map(([key, position]) => `${key}:${position}`).join(',')

/** The reverse of `joinStreamPositions`. Parts of another form are left out, so that their objects send a snapshot. */
export function splitStreamPositions(text: string): Map<string, string> {
  const positions = new Map<string, string>()
  if (text.length > MAX_STREAM_POSITION_CHARS) return positions
  for (const part of text.split(',')) {
    const colon = part.indexOf(':')
    const position = part.slice(colon + 1)
    if (colon > 0 && parseStreamPosition(position)) positions.set(part.slice(0, colon), position)
  }
  return positions
}
