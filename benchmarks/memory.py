"""What idle sandboxes cost: memory of the whole node before and after, kernel included, and what more of them do to a create."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.report import Row, percentile
from benchmarks.rest import RestClient
from tests.product.instance import Instance

SETTLE_SECONDS = 5.0
CREATES_AT_ONCE = 8
PROBES = 30


def used_mib() -> float:
    """Memory of the node that is not available to a new program, in MiB."""
    fields = {line.split(":")[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}
    return (fields["MemTotal"] - fields["MemAvailable"]) / 1024


def create_p50(client: RestClient) -> float:
    """Median seconds of a create now."""
    durations = []
    for _ in range(PROBES):
        sandbox_id, taken = client.create()
        durations.append(taken)
        client.kill(sandbox_id)
    return percentile(durations, 50)


def measure_idle(instance: Instance, count: int) -> list[Row]:
    """Creates that many, lets them settle, and divides what the node uses more."""
    with RestClient(instance) as client:
        empty_latency = create_p50(client)
        time.sleep(SETTLE_SECONDS)
        before = used_mib()
        with ThreadPoolExecutor(CREATES_AT_ONCE) as pool:
            made = [sandbox_id for sandbox_id, _ in pool.map(lambda _: _create(instance), range(count))]
        time.sleep(SETTLE_SECONDS)
        after = used_mib()
        full_latency = create_p50(client)
        for sandbox_id in made:
            client.kill(sandbox_id)
    note = f"node {before:.0f} → {after:.0f} MiB with {count}"
    return [
        Row("memory per idle sandbox, kernel included", (after - before) / count, "MiB", "6", "2", note),
        Row(f"create with {count} idle ÷ create on an empty node, p50", full_latency / empty_latency, "×", "1.5", "1.2"),
    ]


def _create(instance: Instance) -> tuple[str, float]:
    with RestClient(instance) as client:
        return client.create()
