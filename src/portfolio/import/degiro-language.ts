/** The kinds of lines in DEGIRO's account statement. */
export type LineKind = 'dividend' | 'tax' | 'fee' | 'interest' | 'exchange' | 'cash'

/** The words for each kind in the languages of its customers, in lower case; the first match counts. */
const LINE_KINDS: readonly [LineKind, RegExp][] = [
  [
    'cash',
    /cash sweep|flatex|ideal|sofort|overboeking|geldmarkt|money market|fonds mon[ée]taires?|fondo? monetari|cash fund/,
  ],
  [
    'exchange',
    /valuta (?:creditering|debitering)|w[äa]hrungswechsel|fx (?:credit|debit|withdrawal)|op[ée]ration de change|cambio de divisa|de divisa$|cambio valuta|prelievo cambi|accredito cambi|valutav[äa]xling|krediteringsvaluta/,
  ],
  [
    'tax',
    /belasting|dividend tax|dividendensteuer|dividenden?steuer|imp[ôo]ts? sur|taxe sur les dividendes|retenci[óo]n|ritenuta|imposto|da[ňn] z dividend|withholding|quellensteuer|k[äa]llskatt/,
  ],
  [
    'dividend',
    /dividend|dywidend|utdelning|osinko|udbytte|kapitaaluitkering|capital return|r[üu]ckzahlung|ausschüttung|coupon/,
  ],
  [
    'fee',
    /transactiekosten|transaction (?:fee|cost)|transaktionsgeb|transaktionskosten|courtage|frais|comiss|costi di transazione|en\/of|and\/or|und\/oder|et\/ou|e\/o|y\/o|kosten|geb[üu]hr|\bfee|\bfees|costi|custo|costes|ftt|stamp duty|transactietaks|taxe? sur les transactions|adr\/gdr|corporate action/,
  ],
  ['interest', /interest|\brente|zinsen|int[ée]r[êe]t|interess|juros|intereses|courtesy|promoti|compensa/],
  [
    'cash',
    /deposit|withdrawal|storting|terugstorting|ingreso|retirada|dep[óo]sito|prelievo|versement|retrait|einzahlung|auszahlung|levantamento|trasferi|bonifico|reservation|virement/,
  ],
]

/** The kind of a line; null for an unknown one. */
export const lineKind = (description: string): LineKind | null =>
  LINE_KINDS.find(([, words]) => words.test(description.toLowerCase()))?.[0] ?? null

const BUY = 'koop|buy|kauf|achat|compra|acquisto|kup|kupno|n[áa]kup|k[öo]p|k[øo]b|kj[øo]p|osto'
const SELL = 'verkoop|sell|verkauf|vente|venta|venda|vendita|sprzeda[żz]|prodej|s[äa]lj|salg|s[æa]lg|myynti'
const TRADE = new RegExp(
  String.raw`^(?:(?<action>[^:]+?)\s*:\s*)?(?:(?<buy>${BUY})|(?<sell>${SELL}))\s+(?<quantity>\d[\d.,\s\u00a0']*?)\s*(?:\s[^@]*?)?(?:@|\szu je\s)\s*(?<price>[\d.,]+)\s*(?<currency>[a-z]{3})\b`,
  'iu',
)

/** The trade of a line such as `Koop 1 @ 33,9 USD`; `action` is the corporate action behind it, or ''. */
export type ParsedTrade = { action: string; side: 'buy' | 'sell'; quantity: string; price: string; currency: string }

export function parseTrade(description: string): ParsedTrade | null {
  const groups = TRADE.exec(description)?.groups
  if (groups === undefined) return null
  const { action = '', buy, quantity = '', price = '', currency = '' } = groups
  return { action: action.toLowerCase(), side: buy === undefined ? 'sell' : 'buy', quantity, price, currency }
}
