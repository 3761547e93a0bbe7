/** Minor units in which prices are quoted, each a hundredth of a currency (Q6). Capitals matter: GBp is not GBP. */
export const MINOR_UNITS: ReadonlyMap<string, string> = new Map([
  ['GBp', 'GBP'],
  ['GBX', 'GBP'],
  ['GBx', 'GBP'],
  ['ZAc', 'ZAR'],
  ['ZAC', 'ZAR'],
  ['ZAX', 'ZAR'],
  ['ILA', 'ILS'],
  ['ILa', 'ILS'],
])
