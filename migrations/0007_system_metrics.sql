-- What operators look at, as it was once a minute. A name that ends in `_total` counts since the time in the label
-- `since`, and begins at 0 when that time is another; any other is a value of the moment.
CREATE TABLE system_metrics (
    id              BIGSERIAL PRIMARY KEY,
    metric_name     TEXT NOT NULL,
    value           DOUBLE PRECISION NOT NULL,
    labels          JSONB NOT NULL DEFAULT '{}',
    recorded_at     TIMESTAMPTZ NOT NULL
);

CREATE INDEX idx_system_metrics_name ON system_metrics (metric_name, recorded_at DESC);
CREATE INDEX idx_system_metrics_recorded_at ON system_metrics (recorded_at);
