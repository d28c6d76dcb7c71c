"""ClickHouse as the embedded engine and over HTTP: the same client, the same tables, the same answers (contract templates-and-data §4)."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from sandbank.analytics.clickhouse_metrics import MetricRepo
from sandbank.analytics.metrics import CONCURRENT, START_RATE
from sandbank.api.adapters.team_metrics import TeamMetrics
from sandbank.api.core.metrics import MetricReader
from sandbank.api.core.team import Team
from sandbank.clickhouse.batcher import Batcher
from sandbank.clickhouse.client import ClickHouse
from sandbank.clickhouse.schema import LEDGER, Schema, migrations
from sandbank.contracts.orchestrator import SandboxConfig
from sandbank.domain.errors import ConflictError, DeniedError, InvalidError, UnavailableError
from sandbank.orchestrator.adapters.analytics import Analytics
from sandbank.orchestrator.core.events import CREATED, UPDATED, LifecycleEvent, killed
from sandbank.orchestrator.core.sandbox import RunningSandbox
from sandbank.orchestrator.core.usage import sample
from sandbank.runtime.driver import SandboxStats
from tests.product.clickhouse import KINDS, connection_string
from tests.unit.api.made import TEAM

GIB = 1 << 30

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with connection_string(request.param, tmp_path_factory.mktemp("analytics")) as text:
        yield text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(url: str) -> AsyncIterator[ClickHouse]:
    client = ClickHouse.connect(url)
    await Schema(client).up()
    client.ready.set()
    yield client
    await client.close()


def new_team() -> Team:
    return replace(TEAM, team_id=str(uuid.uuid4()))


def running(team: Team, started_at: datetime) -> RunningSandbox:
    sandbox_id = f"i{uuid.uuid4().hex[:20]}"
    config = SandboxConfig(
        sandbox_id=sandbox_id,
        template_id="template",
        build_id=str(uuid.uuid4()),
        team_id=team.team_id,
        vcpu=2,
        ram_mb=1024,
        metadata={"who": "me"},
    )
    return RunningSandbox(
        sandbox_id=sandbox_id,
        execution_id=str(uuid.uuid4()),
        team_id=team.team_id,
        started_at=started_at,
        end_at=started_at + timedelta(minutes=5),
        vcpu=2,
        memory_mib=1024,
        disk_mib=4096,
        traffic_token=None,
        mask_host=None,
        auto_pause=False,
        config=config.SerializeToString(),
    )


async def record(client: ClickHouse, sandbox: RunningSandbox, looks: list[tuple[timedelta, float]]) -> None:
    """Measure it: how long after its start, and how many seconds of processor it had used by then."""
    analytics, before = Analytics(client), None
    for after, cpu_seconds in looks:
        stats = SandboxStats(cpu_seconds, 300 << 20, 100 << 20, GIB, 7 << 20, 4 * GIB, 5)
        before = sample(sandbox, sandbox.started_at + after, stats, before)
        analytics.record(before)
    await analytics.stop()


def reader(client: ClickHouse, now: datetime) -> MetricReader:
    return MetricReader(MetricRepo(client), lambda: now)


async def test_text_of_parameters_is_never_statement(client: ClickHouse) -> None:
    for text in ("x'y", 'x"y', "\\", "a\nb\tc", "'; DROP TABLE sandbox_logs; --", "ä€😀", "{other:String}"):
        assert await client.query("SELECT {text:String}", {"text": text}) == [(text,)]
        assert await client.query("SELECT {texts:Array(String)}", {"texts": [text, "b"]}) == [([text, "b"],)]


async def test_a_refused_statement_is_an_error_in_one_line_and_the_next_one_works(client: ClickHouse) -> None:
    with pytest.raises(UnavailableError) as raised:
        await client.query("SELECT nonsense")
    assert "nonsense" in raised.value.message
    assert "\n" not in raised.value.message
    assert await client.query("SELECT 1") == [(1,)]


async def test_steps_are_taken_once_undone_one_by_one_and_taken_again(client: ClickHouse) -> None:
    schema = Schema(client)
    assert await schema.up() == []
    assert all(step.applied for step in await schema.status())
    newest = migrations()[-1].number
    assert await schema.down() == newest
    assert [step.number for step in await schema.status() if not step.applied] == [newest]
    assert await schema.up() == [newest]


async def test_a_database_that_a_newer_version_used_is_refused(client: ClickHouse) -> None:
    schema = Schema(client)
    await client.insert(LEDGER, ("version_id", "is_applied"), [(9001, 1)])
    try:
        with pytest.raises(ConflictError, match="schema 9001, which this version of Sandbank does not know"):
            await schema.up()
    finally:
        await client.insert(LEDGER, ("version_id", "is_applied"), [(9001, 0)])
    await schema.up()


async def test_a_sandboxs_measurements_come_back_in_steps_of_the_range(client: ClickHouse) -> None:
    """§12.1: oldest first, percent of all vCPUs, the largest of each step; by default from the first point to the last."""
    team, now = new_team(), datetime.now(UTC).replace(microsecond=0)
    sandbox = running(team, now - timedelta(seconds=60))
    await record(client, sandbox, [(timedelta(seconds=5), 5.0), (timedelta(seconds=10), 15.0), (timedelta(seconds=30), 15.0)])
    points = await reader(client, now).of_sandbox(team, sandbox.sandbox_id, None, None)
    assert [point.cpu_percent for point in points] == [50.0, 100.0, 0.0]
    assert points == sorted(points, key=lambda point: point.at)
    first = points[0]
    assert (first.cpu_count, first.memory_used, first.memory_cache, first.memory_total) == (2, 200 << 20, 100 << 20, GIB)
    assert (first.disk_used, first.disk_total) == (7 << 20, 4 * GIB)
    unix = int(sandbox.started_at.timestamp())
    assert len(await reader(client, now).of_sandbox(team, sandbox.sandbox_id, unix + 8, unix + 31)) == 2
    odd = running(team, now - timedelta(seconds=60, milliseconds=300))
    await record(client, odd, [(timedelta(seconds=5), 1.0)])
    assert len(await reader(client, now).of_sandbox(team, odd.sandbox_id, unix, unix + 4)) == 1, "the second that was asked until is in"
    assert await reader(client, now).of_sandbox(team, odd.sandbox_id, unix, unix + 3) == []
    (whole,) = await reader(client, now).of_sandbox(team, sandbox.sandbox_id, unix - 8 * 86400, unix + 60)
    assert whole.cpu_percent == 100.0


async def test_the_only_point_of_a_sandbox_is_there_at_whatever_moment_it_was_measured(client: ClickHouse) -> None:
    """§12.1: the default range ends with the last stored point, which is in it."""
    team, now = new_team(), datetime.now(UTC)
    sandbox = running(team, now - timedelta(seconds=20))
    await record(client, sandbox, [(timedelta(seconds=5, microseconds=moment), 1.0) for moment in (1, 123_457, 999_999)])
    assert len(await reader(client, now).of_sandbox(team, sandbox.sandbox_id, None, None)) >= 1
    alone = running(team, now - timedelta(seconds=20, microseconds=377))
    await record(client, alone, [(timedelta(seconds=5), 1.0)])
    assert len(await reader(client, now).of_sandbox(team, alone.sandbox_id, None, None)) == 1
    await client.insert(
        "sandbox_metrics_gauge",
        ("timestamp", "sandbox_id", "team_id", "metric_name", "value"),
        [(int(now.timestamp()) * 10**9 - 1, "ifiner", team.team_id, "e2b.sandbox.cpu.total", 2.0)],
    )
    assert len(await reader(client, now).of_sandbox(team, "ifiner", None, None)) == 1


async def test_nobody_sees_what_others_measured(client: ClickHouse) -> None:
    team, other, now = new_team(), new_team(), datetime.now(UTC)
    sandbox = running(team, now - timedelta(seconds=20))
    await record(client, sandbox, [(timedelta(seconds=5), 1.0)])
    assert await reader(client, now).of_sandbox(other, sandbox.sandbox_id, None, None) == []
    assert await reader(client, now).of_sandbox(other, sandbox.sandbox_id, 0, 2**40) == []
    assert await reader(client, now).of_sandboxes(other, [sandbox.sandbox_id]) == {}
    assert list(await reader(client, now).of_sandboxes(team, [sandbox.sandbox_id, "inobody"])) == [sandbox.sandbox_id]


async def test_the_latest_point_of_many(client: ClickHouse) -> None:
    """§12.2."""
    team, now = new_team(), datetime.now(UTC)
    sandboxes = [running(team, now - timedelta(seconds=20)) for _ in range(3)]
    for index, sandbox in enumerate(sandboxes):
        await record(client, sandbox, [(timedelta(seconds=5), 10.0), (timedelta(seconds=15), 10.0 + index)])
    found = await reader(client, now).of_sandboxes(team, [sandbox.sandbox_id for sandbox in sandboxes])
    assert [found[sandbox.sandbox_id].cpu_percent for sandbox in sandboxes] == [0.0, 5.0, 10.0]
    with pytest.raises(InvalidError, match="Too many sandboxes requested, maximum is 100"):
        await reader(client, now).of_sandboxes(team, ["i"] * 101)


async def test_ranges_that_cannot_be(client: ClickHouse) -> None:
    team, now = new_team(), datetime.now(UTC)
    metrics, unix = reader(client, now), int(now.timestamp())
    for start, end in ((unix, unix - 1), (unix + 60, None), (2**62, None)):
        with pytest.raises(InvalidError, match="Invalid time range for metrics"):
            await metrics.of_sandbox(team, "isandbox", start, end)
    assert await metrics.of_sandbox(team, "isandbox", None, 0) == []
    with pytest.raises(InvalidError, match="start time cannot be after end time"):
        await metrics.of_team(team, team.team_id, unix, unix - 1)
    with pytest.raises(InvalidError, match="end time cannot be after 2299-12-31"):
        await metrics.of_team(team, team.team_id, 0, 2**60)
    with pytest.raises(DeniedError, match="are not authorized to access this team's"):
        await metrics.of_team(team, str(uuid.uuid4()), None, None)


async def test_what_a_team_runs_and_starts(client: ClickHouse) -> None:
    """§12.3, §12.4: the level is the largest of what the replicas saw, starts add up; without any the peak is 0."""
    team = new_team()

    class Counts:
        async def count_teams(self) -> dict[str, int]:
            return {team.team_id: 7}

    replicas = [TeamMetrics(Counts(), client, lambda task, error: pytest.fail(str(error))) for _ in range(2)]
    now = datetime.now(UTC)
    assert await reader(client, now).of_team(team, team.team_id, None, None) == []
    assert (await reader(client, now).peak_of_team(team, team.team_id, CONCURRENT, None, None)).value == 0
    levels = Batcher(client, "team_metrics_gauge", ("timestamp", "team_id", "metric_name", "value"))
    for replica, starts in zip(replicas, (5, 10), strict=True):
        for _ in range(starts):
            replica.sandbox_started(team.team_id)
        levels.add((int(now.timestamp() * 1e9), team.team_id, "e2b.team.sandbox.running", 7.0))
        await replica.stop()
    await levels.flush()
    metrics, unix = reader(client, now + timedelta(seconds=30)), int(now.timestamp())
    points = await metrics.of_team(team, team.team_id, unix - 60, unix + 60)
    assert max(point.concurrent for point in points) == 7
    assert sum(point.start_rate for point in points) * 5 == 15
    assert (await metrics.peak_of_team(team, team.team_id, CONCURRENT, unix - 60, unix + 60)).value == 7
    assert 1 <= (await metrics.peak_of_team(team, team.team_id, START_RATE, unix - 60, unix + 60)).value <= 3
    other = new_team()
    assert await metrics.of_team(other, other.team_id, None, None) == []
    assert (await metrics.peak_of_team(other, other.team_id, START_RATE, None, None)).value == 0


async def test_teams_may_ask_until_the_end_of_2299(client: ClickHouse) -> None:
    """§12.3: later than ClickHouse's nanoseconds reach."""
    team, metrics = new_team(), reader(client, datetime.now(UTC))
    last = int(datetime(2299, 12, 31, tzinfo=UTC).timestamp())
    for start in (0, last - 1):
        assert await metrics.of_team(team, team.team_id, start, last) == []
        for metric in (CONCURRENT, START_RATE):
            assert (await metrics.peak_of_team(team, team.team_id, metric, start, last)).value == 0


async def test_events_say_what_happened(client: ClickHouse) -> None:
    """Data-plane §12.1."""
    team, now = new_team(), datetime.now(UTC)
    sandbox, analytics = running(team, now - timedelta(seconds=2)), Analytics(client)
    analytics.emit(LifecycleEvent(CREATED, sandbox.started_at, sandbox))
    analytics.emit(LifecycleEvent(UPDATED, now, sandbox, end_moved=True))
    analytics.emit(killed(sandbox, "made up", now))
    await analytics.stop()
    rows = await client.query(
        "SELECT type, event_label, version, event_data, sandbox_team_id, sandbox_template_id, events_ttl_days FROM sandbox_events"
        " WHERE sandbox_id = {id:String} ORDER BY timestamp, type DESC",
        {"id": sandbox.sandbox_id},
    )
    assert [(kind, label) for kind, label, *_ in rows] == [
        ("sandbox.lifecycle.created", "create"),
        ("sandbox.lifecycle.updated", "update"),
        ("sandbox.lifecycle.killed", "kill"),
    ]
    assert {(version, str(owner), template, days) for _, _, version, _, owner, template, days in rows} == {
        ("v2", team.team_id, "template", 7)
    }
    created, updated, ended = (json.loads(data) for _, _, _, data, *_ in rows)
    assert created == {"sandbox_metadata": {"who": "me"}}
    assert datetime.fromisoformat(updated["set_timeout"]) == sandbox.end_at
    assert ended["kill_reason"] == "unknown"
    assert (ended["execution"]["vcpu_count"], ended["execution"]["execution_time"]) == (2, 2000)


async def test_what_a_collector_exports_is_kept_as_if_we_had_written_it(client: ClickHouse) -> None:
    """Templates §4: the exporter writes to `metrics_gauge`, views do the rest."""
    team, now = new_team(), datetime.now(UTC)
    attributes = {"sandbox_id": "ioutside", "team_id": team.team_id, "build_id": "b"}
    await client.insert(
        "metrics_gauge",
        ("MetricName", "Attributes", "TimeUnix", "Value"),
        [("e2b.sandbox.cpu.used", attributes, int(now.timestamp() * 1e9), 12.5), ("other", attributes, int(now.timestamp() * 1e9), 1.0)],
    )
    found = await reader(client, now).of_sandboxes(team, ["ioutside"])
    assert found["ioutside"].cpu_percent == 12.5
