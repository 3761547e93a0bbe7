const CURRENCIES: ReadonlySet<string> = new Set(Intl.supportedValuesOf('currency'))

/** Whether a code in capitals is that of a currency of ISO 4217. */
export const isCurrency = (code: string): boolean => CURRENCIES.has(code)
