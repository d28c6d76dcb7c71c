"""What a node is told is what it tells back after a restart of ours."""

from __future__ import annotations

from datetime import timedelta

from sandbank.api.adapters.node_messages import create_request, read_running, read_started, to_timestamp
from sandbank.api.core.start import SandboxStart, Started, record
from sandbank.contracts.orchestrator import RunningSandbox, SandboxCreateResponse
from tests.unit.api.made import NOON, TEAM, TEMPLATE

START = SandboxStart(
    sandbox_id="i1",
    team_id=TEAM.team_id,
    template=TEMPLATE,
    timeout_seconds=300,
    max_length_hours=1,
    metadata={"k": "v"},
    env_vars={"A": "1"},
    envd_access_token="token",
    traffic_access_token="traffic",
    mask_request_host="localhost",
    allow_internet_access=False,
    network={"allowPublicTraffic": False, "maskRequestHost": "localhost", "httpsPorts": [8443]},
    https_ports=(8443,),
)


def test_a_record_survives_the_round_trip() -> None:
    request = create_request(START, "e1", NOON)
    assert request.end_time.ToDatetime() - request.start_time.ToDatetime() == timedelta(seconds=300)
    started = Started(NOON + timedelta(microseconds=7), NOON + timedelta(seconds=300, microseconds=7))
    running = RunningSandbox(
        sandbox_id="i1",
        execution_id="e1",
        config=request.sandbox,
        start_time=to_timestamp(started.started_at),
        end_time=to_timestamp(started.end_at),
    )
    assert read_running(running, "n1") == record(START, started, "n1", "e1")
    assert list(request.sandbox.network.ingress.https_ports) == [8443]


def test_a_bare_sandbox_too() -> None:
    bare = SandboxStart("i1", TEAM.team_id, TEMPLATE, 15, 1, {}, {}, None, None, None, None, None)
    started = Started(NOON, NOON + timedelta(seconds=15))
    running = RunningSandbox(
        sandbox_id="i1",
        execution_id="e1",
        config=create_request(bare, "e1", NOON).sandbox,
        start_time=to_timestamp(started.started_at),
        end_time=to_timestamp(started.end_at),
    )
    assert read_running(running, "n1") == record(bare, started, "n1", "e1")


def test_a_node_that_tells_no_times_gets_ours() -> None:
    assert read_started(SandboxCreateResponse(), START, NOON) == Started(NOON, NOON + timedelta(seconds=300))
