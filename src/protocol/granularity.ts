/** The granularities of candles, smallest first (C1). */
export const GRANULARITIES = [
  'ONE_MINUTE',
  'FIVE_MINUTES',
  'FIFTEEN_MINUTES',
  'THIRTY_MINUTES',
  'ONE_HOUR',
  'TWO_HOURS',
  'SIX_HOURS',
  'ONE_DAY',
] as const

export type Granularity = (typeof GRANULARITIES)[number]

/** The length of each granularity in seconds: a multiple of a minute that divides a UTC day. */
export const GRANULARITY_SECONDS: Readonly<Record<Granularity, number>> = {
  ONE_MINUTE: 60,
  FIVE_MINUTES: 300,
  FIFTEEN_MINUTES: 900,
  THIRTY_MINUTES: 1_800,
  ONE_HOUR: 3_600,
  TWO_HOURS: 7_200,
  SIX_HOURS: 21_600,
  ONE_DAY: 86_400,
}

export const isGranularity = (text: string): text is Granularity => Object.hasOwn(GRANULARITY_SECONDS, text)
