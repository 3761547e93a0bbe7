/** Steps of an event at which an object can be killed. `clock`: when it reads the time. */
export const STEPS = [
  'received',
  'clock',
  'sqlite-before',
  'sqlite-after',
  'broadcast-before',
  'broadcast-after',
  'received-after',
  'alarm',
  'alarm-after',
  'postgres-before',
  'postgres-after',
] as const
export type Step = (typeof STEPS)[number]
