-- Where sandboxes connected to, and what webhooks were told; for tools that read or write E2B's schema.
CREATE TABLE IF NOT EXISTS ${LOCAL:sandbox_egress}
(
    first_seen DateTime64(9) CODEC(Delta, ZSTD),
    last_seen DateTime64(9) CODEC(Delta, ZSTD),
    ingested_at DateTime64(9) DEFAULT now64(9) CODEC(Delta, ZSTD),
    team_id UUID CODEC(ZSTD),
    sandbox_id String CODEC(ZSTD),
    sandbox_execution_id String CODEC(ZSTD),
    sandbox_template_id String CODEC(ZSTD),
    sandbox_build_id String CODEC(ZSTD),
    sandbox_type LowCardinality(String) DEFAULT 'sandbox' CODEC(ZSTD),
    protocol LowCardinality(String) CODEC(ZSTD),
    destination_ip String CODEC(ZSTD),
    destination_port UInt16 CODEC(ZSTD),
    server_name Nullable(String) CODEC(ZSTD),
    decision LowCardinality(String) CODEC(ZSTD),
    match_type LowCardinality(String) CODEC(ZSTD),
    connections UInt64 CODEC(ZSTD)
) ENGINE = MergeTree
PARTITION BY toDate(ingested_at)
ORDER BY (team_id, sandbox_id, destination_ip, destination_port, last_seen)
TTL toDateTime(ingested_at) + INTERVAL 7 DAY
SETTINGS ttl_only_drop_parts = 1;

-- distributed sandbox_egress xxHash64(sandbox_id)

CREATE TABLE IF NOT EXISTS ${LOCAL:webhook_deliveries}
(
    id UUID CODEC(ZSTD),
    timestamp DateTime64(9) CODEC(Delta, ZSTD),
    team_id UUID CODEC(ZSTD),
    webhook_id String CODEC(ZSTD),
    event_id UUID CODEC(ZSTD),
    sandbox_id String CODEC(ZSTD),
    event_type LowCardinality(String) CODEC(ZSTD),
    delivery_status LowCardinality(String) CODEC(ZSTD),
    duration_ms UInt32 CODEC(ZSTD),
    request_body String CODEC(ZSTD),
    request_headers String CODEC(ZSTD),
    request_url String CODEC(ZSTD),
    response_body Nullable(String) CODEC(ZSTD),
    response_headers Nullable(String) CODEC(ZSTD),
    response_http_status_code Nullable(UInt16) CODEC(ZSTD),
    error_class LowCardinality(String) CODEC(ZSTD),
    error_message Nullable(String) CODEC(ZSTD)
) ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (team_id, webhook_id, timestamp, id)
TTL toDateTime(timestamp) + INTERVAL 7 DAY
SETTINGS ttl_only_drop_parts = 1;

-- distributed webhook_deliveries xxHash64(team_id)

-- down
-- undistributed webhook_deliveries
-- undistributed sandbox_egress
DROP TABLE IF EXISTS ${LOCAL:webhook_deliveries};
DROP TABLE IF EXISTS ${LOCAL:sandbox_egress};
