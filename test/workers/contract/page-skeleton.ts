import type { normaliser } from './normal.ts'

/** Elements without an end. */
const VOID = new Set(['area', 'base', 'br', 'col', 'hr', 'img', 'input', 'link', 'meta', 'source', 'wbr'])

/** Elements that stand inside a sentence: they are part of its wording. */
const INLINE = new Set(['b', 'br', 'code', 'em', 'i', 'strong', 'wbr'])

/** Attributes that hold wording. */
const WORDING = new Set(['alt', 'aria-label', 'content', 'data-label', 'placeholder', 'title'])

/** Attributes whose values hang on the market, and on when it is open. */
const OF_THE_MARKET = new Set(['data-before', 'data-market-state', 'data-ttl'])

/** Classes that say which way a figure moved. */
const DIRECTION = /\b(?:up|down|flat)\b/g

/** Attributes of drawings that hang on the time of day. */
const GEOMETRY = new Set(['d', 'points', 'x', 'y', 'x1', 'x2', 'y1', 'y2'])

const ENTITIES: Record<string, string> = { quot: '"', '#39': "'", lt: '<', gt: '>', amp: '&' }

/** An attribute's value as a browser reads it. */
const decoded = (value: string): string =>
  value.replace(/&(quot|#39|lt|gt|amp);/g, (_, name) => ENTITIES[name] as string)

/**
 * The elements of a page, one a line, indented by depth, with their attributes in their order and without text.
 * Siblings that are alike stand once.
 */
export async function skeletonOf(html: string, normal: ReturnType<typeof normaliser>): Promise<string[]> {
  type Node = { tag: string; children: Node[] }
  const root: Node = { tag: '', children: [] }
  const open = [root]
  const attribute = (tag: string, name: string, value: string): string => {
    if (WORDING.has(name)) return ` ${name}=<text>`
    if (GEOMETRY.has(name)) return ` ${name}=<geometry>`
    if (value === '') return ` ${name}`
    if (tag === 'input' && name === 'value' && /^[\w-]{24}$/.test(value)) return ' value=<token>'
    const [first] = name.startsWith('data-') && value.startsWith('[{') ? (JSON.parse(value) as object[]) : []
    if (first) return ` ${name}=<list of ${Object.keys(first).join()}>`
    if (name === 'class') return ` class="${value.replace(DIRECTION, '<direction>')}"`
    if (name === 'data-position') return ` ${name}="${normal.position(value)}"`
    if (OF_THE_MARKET.has(name) || (tag === 'data' && name === 'value')) return ` ${name}=<value>`
    return ` ${name}=${JSON.stringify(normal.text(value))}`
  }
  const rewriter = new HTMLRewriter().on('*', {
    element(element) {
      if (INLINE.has(element.tagName)) return
      const attributes = [...element.attributes] as [string, string][]
      const told = attributes.map(([name, value]) => attribute(element.tagName, name, decoded(value))).join('')
      const node = { tag: `${element.tagName}${told}`, children: [] }
      open.at(-1)?.children.push(node)
      if (VOID.has(element.tagName)) return
      // An element of a drawing may close itself: it has no end, and no children.
      try {
        element.onEndTag(() => void open.splice(open.indexOf(node)))
      } catch {
        return
      }
      open.push(node)
    },
  })
  await rewriter.transform(new Response(html)).text()
  const lines = (node: Node, depth: number): string[] => {
    const blocks = node.children.map((child) => [`${' '.repeat(depth)}${child.tag}`, ...lines(child, depth + 1)])
    return blocks.filter((block, i) => block.join('\n') !== blocks[i - 1]?.join('\n')).flat()
  }
  return lines(root, 0)
}
