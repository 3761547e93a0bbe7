/**
 * Messages that are not valid, by name. `product` is one that the socket is subscribed to; the sequence numbers inside
 * belong to nothing, since the number of a message that is not valid counts for nothing (C8).
 */
export const MALFORMED_MESSAGES: Readonly<Record<string, (product: string) => string>> = {
  not_json: () => 'slow down',
  truncated: () => '{"channel":"market_trades","timestamp":"2026-08-09T21:05:48.228568804Z","sequence_num":3,"eve',
  empty: () => '',
  array: () => '[]',
  null: () => 'null',
  number: () => '42',
  error: () => '{"type":"error","message":"slow down"}',
  no_events: () => '{"channel":"market_trades","timestamp":"2026-08-09T21:05:48Z","sequence_num":3}',
  null_events: () => '{"channel":"market_trades","timestamp":"2026-08-09T21:05:48Z","sequence_num":3,"events":null}',
  null_trades: () => envelope('[{"type":"update","trades":null}]'),
  null_trade: () => envelope('[{"type":"update","trades":[null]}]'),
  text_sequence: (p) => envelope(event(p, {})).replace('"sequence_num":3', '"sequence_num":"three"'),
  nan_price: (p) => envelope(event(p, { price: 'NaN' })),
  infinite_price: (p) => envelope(event(p, { price: 'Infinity' })),
  hex_price: (p) => envelope(event(p, { price: '0x10' })),
  empty_price: (p) => envelope(event(p, { price: '' })),
  zero_price: (p) => envelope(event(p, { price: '0.00' })),
  negative_price: (p) => envelope(event(p, { price: '-1.5' })),
  number_price: (p) => envelope(event(p, { price: 1.5 })),
  zero_size: (p) => envelope(event(p, { size: '0' })),
  negative_size: (p) => envelope(event(p, { size: '-0.1' })),
  wrong_time: (p) => envelope(event(p, { time: 'never' })),
  number_time: (p) => envelope(event(p, { time: 1_786_309_548 })),
  wrong_id: (p) => envelope(event(p, { trade_id: 'seven' })),
  negative_id: (p) => envelope(event(p, { trade_id: '-7' })),
  missing_price: (p) => envelope(event(p, { price: undefined })),
  missing_id: (p) => envelope(event(p, { trade_id: undefined })),
  missing_time: (p) => envelope(event(p, { time: undefined })),
  unknown_product: () => envelope(event('NO-SUCH', {})),
}

const envelope = (events: string): string =>
  `{"channel":"market_trades","timestamp":"2026-08-09T21:05:48.228568804Z","sequence_num":3,"events":${events}}`

const event = (product: string, wrong: Record<string, unknown>): string =>
  JSON.stringify([
    {
      type: 'update',
      trades: [
        {
          product_id: product,
          trade_id: '7',
          price: '1.5',
          size: '0.25',
          time: '2026-08-09T21:05:48.1Z',
          side: 'BUY',
          ...wrong,
        },
      ],
    },
  ])
