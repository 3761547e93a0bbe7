/** The most characters of JSON in one row: a row has 2 MB at most, and a character up to 3 bytes. */
const MAX_ROW_CHARS = 600_000

/** A list as JSON arrays, one a row: each has at most `MAX_ROW_CHARS` characters unless one element alone has more. */
export function toJsonRows(list: readonly unknown[]): string[] {
  const rows: string[][] = [[]]
  let chars = 0
  for (const element of list) {
    const text = JSON.stringify(element)
    if (chars + text.length > MAX_ROW_CHARS && chars > 0) {
      rows.push([])
      chars = 0
    }
    rows.at(-1)?.push(text)
    chars += text.length + 1
  }
  return rows.map((texts) => `[${texts.join(',')}]`)
}
