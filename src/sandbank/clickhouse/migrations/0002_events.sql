-- What happened to sandboxes, and what the node saw of them (contract templates-and-data §4).
CREATE TABLE IF NOT EXISTS ${LOCAL:sandbox_events}
(
    timestamp DateTime64(9) CODEC(Delta, ZSTD),
    sandbox_id String CODEC(ZSTD),
    sandbox_execution_id String CODEC(ZSTD),
    sandbox_template_id String CODEC(ZSTD),
    sandbox_build_id String CODEC(ZSTD),
    sandbox_team_id UUID CODEC(ZSTD),
    event_category LowCardinality(String) CODEC(ZSTD),
    event_label LowCardinality(String) CODEC(ZSTD),
    type LowCardinality(String) CODEC(ZSTD),
    version String DEFAULT 'v1' CODEC(ZSTD),
    event_data Nullable(String) CODEC(ZSTD),
    id UUID DEFAULT generateUUIDv4() CODEC(ZSTD),
    events_ttl_days Int64 DEFAULT 7 CODEC(ZSTD),
    PROJECTION by_team (SELECT * ORDER BY sandbox_team_id, timestamp)
) ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (sandbox_id, timestamp)
TTL toDateTime(timestamp) + toIntervalDay(events_ttl_days)
SETTINGS ttl_only_drop_parts = 0;

-- distributed sandbox_events xxHash64(sandbox_id)

CREATE TABLE IF NOT EXISTS ${LOCAL:sandbox_host_stats}
(
    timestamp DateTime64(9) CODEC(Delta, ZSTD),
    sandbox_id String CODEC(ZSTD),
    sandbox_execution_id String CODEC(ZSTD),
    sandbox_template_id String CODEC(ZSTD),
    sandbox_build_id String CODEC(ZSTD),
    sandbox_team_id UUID CODEC(ZSTD),
    sandbox_vcpu_count Int64 CODEC(ZSTD),
    sandbox_memory_mb Int64 CODEC(ZSTD),
    firecracker_cpu_user_time Float64 DEFAULT 0 CODEC(ZSTD),
    firecracker_cpu_system_time Float64 DEFAULT 0 CODEC(ZSTD),
    firecracker_memory_rss UInt64 DEFAULT 0 CODEC(ZSTD),
    firecracker_memory_vms UInt64 DEFAULT 0 CODEC(ZSTD),
    cgroup_cpu_usage_usec UInt64 CODEC(ZSTD),
    cgroup_cpu_user_usec UInt64 DEFAULT 0 CODEC(ZSTD),
    cgroup_cpu_system_usec UInt64 DEFAULT 0 CODEC(ZSTD),
    cgroup_memory_usage_bytes UInt64 CODEC(ZSTD),
    cgroup_memory_peak_bytes UInt64 DEFAULT 0 CODEC(ZSTD),
    sandbox_type LowCardinality(String) DEFAULT 'sandbox' CODEC(ZSTD),
    delta_cgroup_cpu_usage_usec UInt64 DEFAULT 0 CODEC(ZSTD),
    delta_cgroup_cpu_user_usec UInt64 DEFAULT 0 CODEC(ZSTD),
    delta_cgroup_cpu_system_usec UInt64 DEFAULT 0 CODEC(ZSTD),
    interval_us UInt64 DEFAULT 0 CODEC(ZSTD)
) ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (sandbox_id, timestamp)
TTL toDateTime(timestamp) + INTERVAL 7 DAY
SETTINGS ttl_only_drop_parts = 1;

-- distributed sandbox_host_stats xxHash64(sandbox_id)

-- down
-- undistributed sandbox_host_stats
-- undistributed sandbox_events
DROP TABLE IF EXISTS ${LOCAL:sandbox_host_stats};
DROP TABLE IF EXISTS ${LOCAL:sandbox_events};
