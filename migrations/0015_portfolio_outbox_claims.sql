-- A run of the outbox claims its rows until then: no transaction stays open while users' objects are notified. The claim of
-- a run that broke off expires, and the next run takes the rows.
ALTER TABLE portfolio_outbox ADD COLUMN claimed_until TIMESTAMPTZ;
