"""The edge API's logs and metrics: what is asked of the stores, and the shapes (contract data-plane §8.4)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from sandbank.analytics.clickhouse_metrics import MetricRepo
from sandbank.analytics.metrics import SandboxPoint
from sandbank.domain.log_query import LogEntry, LogQuery
from tests.unit.client_proxy.edge_world import NOON, World, error

TEAM = "0b8a3ded-4489-4722-afd1-1d82e64ec2d5"
LOGS, METRICS, LATEST = "/v1/sandboxes/iabc/logs", "/v1/sandboxes/iabc/metrics", "/v1/sandboxes/metrics"
BUILD = "/v1/templates/builds/b/logs"
NOW_MS, WEEK_MS = int(NOON.timestamp() * 1000) + 1, 7 * 24 * 3600 * 1000
POINT = SandboxPoint(NOON, 2, 12.5, 3, 4, 5, 6, 7)


class Logs:
    """Three lines, whatever is asked."""

    def __init__(self) -> None:
        self.asked: list[LogQuery] = []

    async def find(self, query: LogQuery) -> Sequence[LogEntry]:
        self.asked.append(query)
        return [LogEntry.of_line(number, json.dumps({"message": f"m{number}", "level": "warn", "step": "base"})) for number in range(3)]


class Metrics(MetricRepo):
    """One point."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    async def sandbox_range(self, team_id: str, sandbox_id: str) -> tuple[datetime, datetime] | None:
        return NOON - timedelta(hours=2), NOON

    async def sandbox_series(self, team_id: str, sandbox_id: str, start: datetime, end: datetime, step: int) -> Sequence[SandboxPoint]:
        self.asked.append((team_id, sandbox_id, start, end, step))
        return [POINT]

    async def latest(self, team_id: str, sandbox_ids: Sequence[str]) -> Mapping[str, SandboxPoint]:
        self.asked.append((team_id, *sandbox_ids))
        return dict.fromkeys(sandbox_ids, POINT)


@pytest.fixture
def logs() -> Logs:
    return Logs()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def world(logs: Logs, metrics: Metrics) -> World:
    return World(logs=logs, metrics=metrics)


async def ask(world: World, path: str) -> object:
    answer = await world.ask("GET", path)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


async def test_a_sandboxs_logs_are_lines_and_entries(world: World, logs: Logs) -> None:
    body = await ask(world, f"{LOGS}?teamID={TEAM}")
    assert isinstance(body, dict)
    assert set(body) == {"logs", "logEntries"}
    assert json.loads(body["logs"][1]["line"])["message"] == "m1"
    assert body["logEntries"][1]["message"] == "m1"
    assert set(body["logEntries"][0]) == {"timestamp", "level", "message", "fields"}
    (query,) = logs.asked
    assert (query.subject.team_id, query.subject.sandbox_id, query.limit, query.newest_first) == (TEAM, "iabc", 1000, False)
    assert (query.start_ns, query.end_ns) == ((NOW_MS - WEEK_MS) * 10**6, NOW_MS * 10**6)


async def test_filters_of_logs_reach_the_store_and_sizes_are_bounded(world: World, logs: Logs) -> None:
    await ask(world, f"{LOGS}?teamID={TEAM}&start=0&end={NOW_MS - 5}&limit=2147483647&direction=backward&level=warn&search=a%20b")
    (query,) = logs.asked
    assert (query.limit, query.newest_first, query.min_level, query.search) == (5000, True, "warn", "a b")
    assert (query.start_ns, query.end_ns) == ((NOW_MS - 5 - WEEK_MS) * 10**6, (NOW_MS - 5) * 10**6)


async def test_a_builds_logs_skip_what_the_caller_has(world: World, logs: Logs) -> None:
    body = await ask(world, f"{BUILD}?templateID=t&orchestratorID=o&offset=1&limit=50")
    assert isinstance(body, dict)
    assert [entry["message"] for entry in body["logEntries"]] == ["m1", "m2"]
    assert body["logs"][0] == "[1970-01-01T00:00:00.000000001Z] m1\n"
    assert body["logEntries"][0]["step"] == "base"
    (query,) = logs.asked
    subject = query.subject
    assert (subject.template_id, subject.build_id, query.service, query.limit) == ("t", "b", "template-manager", 51)


async def test_metrics_of_a_sandbox_are_all_there_are_by_default(world: World, metrics: Metrics) -> None:
    shape = {
        "timestamp": "2026-01-10T12:00:00Z",
        "timestamp_unix": int(NOON.timestamp()),
        "cpu_used_pct": 12.5,
        "cpu_count": 2,
        "mem_total": 4,
        "mem_used": 3,
        "mem_cache": 5,
        "disk_total": 7,
        "disk_used": 6,
    }
    assert await ask(world, f"{METRICS}?teamID={TEAM}") == [shape]
    assert metrics.asked == [(TEAM, "iabc", NOON - timedelta(hours=2), NOON, 30)]
    assert await ask(world, f"{LATEST}?teamID={TEAM}&sandbox_ids=ia&sandbox_ids=ib,ic") == {
        "sandboxes": {"ia": shape, "ib": shape, "ic": shape}
    }


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (LOGS, "teamID"),
        (f"{LOGS}?teamID=nobody", "teamID"),
        (f"{LOGS}?teamID={TEAM}&limit=-1", "limit"),
        (f"{LOGS}?teamID={TEAM}&start=soon", "start"),
        (f"{LOGS}?teamID={TEAM}&start=2&end=1", "Invalid time range"),
        (f"{LOGS}?teamID={TEAM}&level=loud", "level"),
        (f"{LOGS}?teamID={TEAM}&search={'x' * 257}", "search"),
        (f"{LOGS}?teamID={TEAM}&search=%ff", "query"),
        (f"{LOGS}?{'a&' * 300}teamID={TEAM}", "query"),
        (f"/v1/sandboxes/NOT-AN-ID/logs?teamID={TEAM}", "Invalid sandbox ID"),
        (BUILD, "templateID"),
        (f"{BUILD}?templateID=t&limit=101", "limit"),
        (f"{METRICS}?teamID={TEAM}&start=2&end=1", "Invalid time range"),
        (f"{LATEST}?teamID={TEAM}", "sandbox_ids"),
        (f"{LATEST}?teamID={TEAM}&sandbox_ids={','.join(f'i{n}' for n in range(101))}", "maximum is 100"),
    ],
)
async def test_what_cannot_be_is_400(world: World, logs: Logs, path: str, said: str) -> None:
    status, message = error(await world.ask("GET", path))
    assert status == 400
    assert said in message
    assert logs.asked == []


@pytest.mark.parametrize("path", [f"{LOGS}?teamID={TEAM}", f"{METRICS}?teamID={TEAM}", f"{LATEST}?teamID={TEAM}&sandbox_ids=i1"])
async def test_where_no_store_is_configured_the_answer_is_503_and_says_what_is_missing(path: str) -> None:
    status, message = error(await World().ask("GET", path))
    assert status == 503
    assert "CLICKHOUSE_CONNECTION_STRING" in message
