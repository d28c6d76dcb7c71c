-- What an OpenTelemetry collector's exporter writes to, and what is kept of it (contract templates-and-data §4).
CREATE TABLE IF NOT EXISTS metrics_gauge ${ON_CLUSTER}
(
    ResourceAttributes Map(LowCardinality(String), String),
    ResourceSchemaUrl String,
    ScopeName String,
    ScopeVersion String,
    ScopeAttributes Map(LowCardinality(String), String),
    ScopeDroppedAttrCount UInt32,
    ScopeSchemaUrl String,
    ServiceName LowCardinality(String),
    MetricName String,
    MetricDescription String,
    MetricUnit String,
    Attributes Map(LowCardinality(String), String),
    StartTimeUnix DateTime64(9),
    TimeUnix DateTime64(9),
    Value Float64,
    Flags UInt32,
    Exemplars Nested (FilteredAttributes Map(LowCardinality(String), String), TimeUnix DateTime64(9), Value Float64, SpanId String, TraceId String)
) ENGINE = Null;

CREATE TABLE IF NOT EXISTS metrics_sum ${ON_CLUSTER}
(
    ResourceAttributes Map(LowCardinality(String), String),
    ResourceSchemaUrl String,
    ScopeName String,
    ScopeVersion String,
    ScopeAttributes Map(LowCardinality(String), String),
    ScopeDroppedAttrCount UInt32,
    ScopeSchemaUrl String,
    ServiceName LowCardinality(String),
    MetricName String,
    MetricDescription String,
    MetricUnit String,
    Attributes Map(LowCardinality(String), String),
    StartTimeUnix DateTime64(9),
    TimeUnix DateTime64(9),
    Value Float64,
    Flags UInt32,
    Exemplars Nested (FilteredAttributes Map(LowCardinality(String), String), TimeUnix DateTime64(9), Value Float64, SpanId String, TraceId String),
    AggregationTemporality Int32,
    IsMonotonic Bool
) ENGINE = Null;

CREATE TABLE IF NOT EXISTS ${LOCAL:sandbox_metrics_gauge}
(
    timestamp DateTime64(9) CODEC(Delta, ZSTD),
    sandbox_id String CODEC(ZSTD),
    team_id String CODEC(ZSTD),
    metric_name LowCardinality(String) CODEC(ZSTD),
    value Float64 CODEC(ZSTD),
    build_id String DEFAULT '' CODEC(ZSTD),
    sandbox_type LowCardinality(String) DEFAULT 'sandbox' CODEC(ZSTD)
) ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (sandbox_id, metric_name, toUnixTimestamp64Nano(timestamp))
TTL toDateTime(timestamp) + INTERVAL 7 DAY
SETTINGS ttl_only_drop_parts = 1;

-- distributed sandbox_metrics_gauge xxHash64(sandbox_id)

CREATE MATERIALIZED VIEW IF NOT EXISTS sandbox_metrics_gauge_mv ${ON_CLUSTER} TO sandbox_metrics_gauge AS
SELECT
    TimeUnix AS timestamp,
    Attributes['sandbox_id'] AS sandbox_id,
    Attributes['team_id'] AS team_id,
    MetricName AS metric_name,
    Value AS value,
    Attributes['build_id'] AS build_id,
    if(Attributes['sandbox_type'] = '', 'sandbox', Attributes['sandbox_type']) AS sandbox_type
FROM metrics_gauge
WHERE MetricName LIKE 'e2b.sandbox.%';

CREATE TABLE IF NOT EXISTS ${LOCAL:team_metrics_gauge}
(
    timestamp DateTime64(9) CODEC(Delta, ZSTD),
    team_id String CODEC(ZSTD),
    metric_name LowCardinality(String) CODEC(ZSTD),
    value Float64 CODEC(ZSTD)
) ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (team_id, metric_name, timestamp)
TTL toDateTime(timestamp) + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1;

-- distributed team_metrics_gauge xxHash64(team_id)

CREATE TABLE IF NOT EXISTS ${LOCAL:team_metrics_sum}
(
    timestamp DateTime64(9) CODEC(Delta, ZSTD),
    team_id String CODEC(ZSTD),
    metric_name LowCardinality(String) CODEC(ZSTD),
    value Float64 CODEC(ZSTD)
) ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (team_id, metric_name, timestamp)
TTL toDateTime(timestamp) + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1;

-- distributed team_metrics_sum xxHash64(team_id)

CREATE MATERIALIZED VIEW IF NOT EXISTS team_metrics_gauge_mv ${ON_CLUSTER} TO team_metrics_gauge AS
SELECT TimeUnix AS timestamp, Attributes['team_id'] AS team_id, MetricName AS metric_name, Value AS value
FROM metrics_gauge
WHERE MetricName LIKE 'e2b.team.%';

CREATE MATERIALIZED VIEW IF NOT EXISTS team_metrics_sum_mv ${ON_CLUSTER} TO team_metrics_sum AS
SELECT TimeUnix AS timestamp, Attributes['team_id'] AS team_id, MetricName AS metric_name, Value AS value
FROM metrics_sum
WHERE MetricName LIKE 'e2b.team.%';

-- down
DROP VIEW IF EXISTS team_metrics_sum_mv ${ON_CLUSTER};
DROP VIEW IF EXISTS team_metrics_gauge_mv ${ON_CLUSTER};
DROP VIEW IF EXISTS sandbox_metrics_gauge_mv ${ON_CLUSTER};
-- undistributed team_metrics_sum
-- undistributed team_metrics_gauge
-- undistributed sandbox_metrics_gauge
DROP TABLE IF EXISTS ${LOCAL:team_metrics_sum};
DROP TABLE IF EXISTS ${LOCAL:team_metrics_gauge};
DROP TABLE IF EXISTS ${LOCAL:sandbox_metrics_gauge};
DROP TABLE IF EXISTS metrics_sum ${ON_CLUSTER};
DROP TABLE IF EXISTS metrics_gauge ${ON_CLUSTER};
