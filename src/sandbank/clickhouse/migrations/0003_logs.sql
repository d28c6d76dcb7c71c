-- Log lines of sandboxes and builds, where Loki does not keep them (contract templates-and-data §4, data-plane §12.3).
CREATE TABLE IF NOT EXISTS ${LOCAL:sandbox_logs}
(
    timestamp DateTime64(9) CODEC(Delta, ZSTD),
    ingested_at DateTime64(9) DEFAULT now64(9) CODEC(Delta, ZSTD),
    team_id UUID CODEC(ZSTD),
    sandbox_id String CODEC(ZSTD),
    template_id String CODEC(ZSTD),
    build_id String CODEC(ZSTD),
    service LowCardinality(String) CODEC(ZSTD),
    category LowCardinality(String) CODEC(ZSTD),
    level LowCardinality(String) CODEC(ZSTD),
    message String CODEC(ZSTD),
    raw String CODEC(ZSTD),
    fields String CODEC(ZSTD),
    INDEX build_ids build_id TYPE bloom_filter GRANULARITY 4,
    INDEX message_words message TYPE ngrambf_v1(4, 8192, 3, 0) GRANULARITY 4
) ENGINE = MergeTree
PARTITION BY toDate(ingested_at)
ORDER BY (team_id, sandbox_id, timestamp)
TTL toDateTime(ingested_at) + INTERVAL 7 DAY
SETTINGS ttl_only_drop_parts = 1;

-- distributed sandbox_logs xxHash64(team_id)

-- down
-- undistributed sandbox_logs
DROP TABLE IF EXISTS ${LOCAL:sandbox_logs};
