import { readCandleHistory } from '../../api/candles/candle-history.ts'
import { candleTexts, framePosition, parseCandle } from '../../api/streams/frames.ts'
import type { EventSink } from '../../api/streams/sse-response.ts'
import type { StreamAdapter } from '../../api/streams/stream-session.ts'
import { log } from '../../log.ts'
import type { Candle } from '../../protocol/candle.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { Granularity } from '../../protocol/granularity.ts'
import { parseStreamPosition, splitStreamPositions } from '../../protocol/stream-position.ts'
import { renderSpotChart } from '../market/elements.ts'

/** A chart is sent whole, so at most this often (milliseconds); what changes in between goes with the next. */
const CHART_INTERVAL_MS = 1_000
/** Bars of all charts of one stream: a chart of 1,000 bars is about 100 KB each time it is sent. */
const MAX_BARS = 20_000

type Chart = {
  product: string
  granularity: Granularity
  /** By start; null until its history is read. */
  bars: Map<number, Candle> | null
  /** What came while the history was on its way: candles and the position of their frame. */
  early: { candle: Candle; position: string }[]
  sentAt: number
  timer: ReturnType<typeof setTimeout> | null
}

/** What a chart stream shows. */
type ChartSelection = { products: readonly string[]; granularities: readonly Granularity[] }

/**
 * Whole charts of the last `bars` candles as `<spot-chart>`: history first, and again when they change.
 * `patch` makes the lines of an event of an element.
 * @throws CodedError naming `bars` if all charts together would hold too many
 */
export function chartAdapter(
  env: Env,
  wanted: ChartSelection,
  bars: number,
  patch: (element: string) => string,
): StreamAdapter {
  const count = wanted.products.length * wanted.granularities.length
  if (count * bars > MAX_BARS)
    throw new CodedError('invalid_request', `${count} charts of ${bars} bars are too many for one stream`, {
      errors: [{ field: 'bars', message: `must be at most ${Math.floor(MAX_BARS / count)} for ${count} charts` }],
    })
  const charts = new Map<string, Chart>()
  for (const product of wanted.products)
    for (const granularity of wanted.granularities) {
      const chart = { product, granularity, bars: null, early: [], sentAt: 0, timer: null }
      charts.set(`${product} ${granularity}`, chart)
    }
  let over = false

  const send = (sink: EventSink, chart: Chart) => {
    chart.timer = null
    if (over || !chart.bars) return
    chart.sentAt = Date.now()
    const candles = [...chart.bars.values()].sort((a, b) => a.timestamp - b.timestamp).slice(-bars)
    chart.bars = new Map(candles.map((candle) => [candle.timestamp, candle]))
    const element = renderSpotChart({ product: chart.product, granularity: chart.granularity, candles })
    sink.push([{ key: `${chart.product} ${chart.granularity}`, text: patch(element) }])
  }
  const changed = (sink: EventSink, chart: Chart) => {
    chart.timer ??= setTimeout(() => send(sink, chart), Math.max(0, chart.sentAt + CHART_INTERVAL_MS - Date.now()))
  }

  /** Reads what stands before the stream, then adds what the stream brought meanwhile and the history has not (C11). */
  const load = async (sink: EventSink, chart: Chart): Promise<void> => {
    const { product, granularity } = chart
    chart.bars = null
    try {
      const history = await readCandleHistory(
        env,
        product,
        { granularity, limit: bars },
        Math.floor(Date.now() / 1_000),
      )
      chart.bars = new Map(history.candles.map((candle) => [candle.timestamp, candle]))
      for (const { candle, position } of chart.early.splice(0))
        if (isLater(position, history.position)) chart.bars.set(candle.timestamp, candle)
      changed(sink, chart)
    } catch (error) {
      log('chart_read_failed', { product, granularity, error: String(error) })
      sink.end()
    }
  }

  return {
    onStart() {},
    onFeed() {},
    onFrame(sink, { text, key: product, type }) {
      if (type === 'snapshot') {
        for (const chart of charts.values()) if (chart.product === product) void load(sink, chart)
        return
      }
      const position = splitStreamPositions(framePosition(text) ?? '').get(product) ?? ''
      for (const candle of candleTexts(text).map(parseCandle)) {
        const chart = charts.get(`${candle.product_id} ${candle.granularity}`)
        if (!chart) continue
        if (chart.bars) {
          chart.bars.set(candle.timestamp, candle)
          changed(sink, chart)
        } else chart.early.push({ candle, position })
      }
    },
    onEnd() {
      over = true
      for (const { timer } of charts.values()) if (timer !== null) clearTimeout(timer)
    },
  }
}

/** Whether a frame at `position` came after `known`. What cannot be compared counts as later: the stream goes on. */
function isLater(position: string, known: string): boolean {
  const [a, b] = [parseStreamPosition(position), parseStreamPosition(known)]
  return !a || !b || a.epoch !== b.epoch || a.offset > b.offset
}
