import type { normaliser } from './normal.ts'

/** Elements without an end tag. */
const VOID = new Set(['area', 'base', 'br', 'col', 'hr', 'img', 'input', 'link', 'meta', 'source', 'wbr'])

/** Elements inside sentences: they are part of the wording. */
const INLINE = new Set(['b', 'br', 'code', 'em', 'i', 'strong', 'wbr'])

/** Attributes whose values are wording. */
const WORDING = new Set(['alt', 'aria-label', 'content', 'data-label', 'placeholder', 'title'])

/** Attributes whose values follow the simulated market. */
const OF_THE_MARKET = new Set(['data-before', 'data-market-state', 'data-ttl'])

/** Classes for the direction in which a figure moved. */
const DIRECTION = /\b(?:up|down|flat)\b/g

/** Attributes of drawings: their values depend on the time of day. */
const GEOMETRY = new Set(['d', 'points', 'x', 'y', 'x1', 'x2', 'y1', 'y2'])

const ENTITIES: Record<string, string> = { quot: '"', '#39': "'", lt: '<', gt: '>', amp: '&' }

/** An attribute's value without entities. */
const decoded = (value: string): string =>
  value.replace(/&(quot|#39|lt|gt|amp);/g, (_, name) => ENTITIES[name] as string)

/**
 * The elements of a page with their attributes and without text, one per line, indented by depth. Equal neighbours appear
 * once.
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
    if (name.startsWith('data-') && value.startsWith('{')) return ` ${name}=${JSON.stringify(normal.json(value))}`
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
      const texts = attributes.map(([name, value]) => attribute(element.tagName, name, decoded(value))).join('')
      const node = { tag: `${element.tagName}${texts}`, children: [] }
      open.at(-1)?.children.push(node)
      if (VOID.has(element.tagName)) return
      // A self-closing element of a drawing has no end tag, and no children.
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
