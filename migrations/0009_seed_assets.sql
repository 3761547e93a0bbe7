-- Assets to begin with. Their date is that of this list, so that they do not count as added on the day of the migration.
INSERT INTO assets (symbol, name, type, category, code, provider, provider_id, currency, isin, created_at)
SELECT symbol, name, 'stock', 'stock', symbol, 'yahoo', symbol, 'USD', isin, '2026-11-01Z'
FROM (VALUES
    ('AAPL', 'Apple Inc.', 'US0378331005'),
    ('MSFT', 'Microsoft Corporation', 'US5949181045'),
    ('NVDA', 'NVIDIA Corporation', 'US67066G1040'),
    ('GOOGL', 'Alphabet Inc.', 'US02079K3059'),
    ('AMZN', 'Amazon.com, Inc.', 'US0231351067')
) AS us (symbol, name, isin);

INSERT INTO assets (symbol, name, type, category, code, provider, provider_id, currency, created_at)
SELECT code, name, 'crypto', 'crypto', code, 'coinbase', code || '-USD', 'USD', '2026-11-01Z'
FROM (VALUES ('BTC', 'Bitcoin'), ('ETH', 'Ethereum'), ('SOL', 'Solana')) AS crypto (code, name);
