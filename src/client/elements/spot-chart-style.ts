/** The shared style sheet of charts. A constructed sheet needs no inline style, which a strict CSP forbids. */
export const chartSheet = new CSSStyleSheet()
chartSheet.replaceSync(`
  :host { display: block; position: relative; min-height: 240px; contain: content; }
  .plot { position: absolute; inset: 0; }
  .plot:focus-visible { outline: 2px solid var(--focus, Highlight); outline-offset: -2px; }
  .legend {
    position: absolute; z-index: 3; inset: 8px 76px auto 12px; margin: 0; pointer-events: none;
    display: flex; flex-wrap: wrap; gap: 1px 10px;
    font-size: 12px; line-height: 1.45; font-variant-numeric: tabular-nums; color: var(--chart-text, GrayText);
  }
  .legend span { white-space: nowrap; }
  .legend b { font-weight: 500; margin-right: 3px; color: var(--chart-text, GrayText); }
  .legend .up { color: var(--up-text, inherit); }
  .legend .down { color: var(--down-text, inherit); }
  .legend em { font-style: normal; font-weight: 600; color: var(--warn-text, inherit); }
  .credit {
    position: absolute; z-index: 3; left: 8px; bottom: 32px; padding: 3px 5px; border-radius: 3px;
    background: var(--card, Canvas); font-size: 11px; line-height: 1;
    color: var(--chart-text, GrayText); text-decoration: none;
  }
  .credit:hover, .credit:focus-visible { text-decoration: underline; }
`)
