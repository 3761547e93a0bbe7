/**
 * A place in what one object has sent (D2). The epoch changes whenever continuity cannot be proven; offsets rise by
 * one a frame.
 */
export type StreamPosition = { epoch: string; offset: number }

const POSITION_PATTERN = /^([a-z0-9]{1,32})-(\d{1,15})$/

/** Longest text of joined positions that is accepted on return; past it a return is a snapshot. */
export const MAX_STREAM_POSITION_CHARS = 8_192

export const formatStreamPosition = (position: StreamPosition): string => `${position.epoch}-${position.offset}`

/** Parses `<epoch>-<offset>`; anything else gives null. */
export function parseStreamPosition(text: string): StreamPosition | null {
  const match = POSITION_PATTERN.exec(text)
  return match ? { epoch: match[1] as string, offset: Number(match[2]) } : null
}

/** `product:epoch-offset` joined by commas: the place in what several objects have sent. */
export const joinStreamPositions = (positions: ReadonlyMap<string, string>): string =>
  [...positions].map(([product, position]) => `${product}:${position}`).join(',')

/** The reverse of `joinPositions`; parts that are not of that form are left out, so that their products get a snapshot. */
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
