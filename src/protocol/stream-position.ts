/**
 * A place in what one object has sent (D2). The epoch changes whenever continuity cannot be proven; offsets rise by
 * one a frame.
 */
export type Position = { epoch: string; offset: number }

const ONE = /^([a-z0-9]{1,32})-(\d{1,15})$/

/** Longest text of joined positions that is accepted on return; past it a return is a snapshot. */
export const MAX_POSITION_LENGTH = 8_192

export const positionText = (position: Position): string => `${position.epoch}-${position.offset}`

/** Parses `<epoch>-<offset>`; anything else gives null. */
export function parsePosition(text: string): Position | null {
  const match = ONE.exec(text)
  return match ? { epoch: match[1] as string, offset: Number(match[2]) } : null
}

/** `product:epoch-offset` joined by commas: the place in what several objects have sent. */
export const joinPositions = (positions: ReadonlyMap<string, string>): string =>
  [...positions].map(([product, position]) => `${product}:${position}`).join(',')

/** The reverse of `joinPositions`; parts that are not of that form are left out, so that their products get a snapshot. */
export function splitPositions(text: string): Map<string, string> {
  const positions = new Map<string, string>()
  if (text.length > MAX_POSITION_LENGTH) return positions
  for (const part of text.split(',')) {
    const colon = part.indexOf(':')
    const position = part.slice(colon + 1)
    if (colon > 0 && parsePosition(position)) positions.set(part.slice(0, colon), position)
  }
  return positions
}
