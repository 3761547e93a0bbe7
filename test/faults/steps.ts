/** Where an object can be killed on its way through one event. `clock`: whenever it asks for the time. */
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
