import { SpotCandle } from '../elements/spot-candle.ts'
import { SpotChart } from '../elements/spot-chart.ts'

// The elements alone, for other sites whose pages are patched by `/api/v1/datastar` and `/api/v1/datastar/chart`.
if (!customElements.get('spot-candle')) customElements.define('spot-candle', SpotCandle)
if (!customElements.get('spot-chart')) customElements.define('spot-chart', SpotChart)
