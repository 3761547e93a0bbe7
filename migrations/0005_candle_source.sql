-- Where a candle's numbers come from: `trades` alone, or also the exchange's own candles.
ALTER TABLE live_candles
    ADD COLUMN source TEXT NOT NULL DEFAULT 'trades' CHECK (source IN ('trades', 'exchange'));
