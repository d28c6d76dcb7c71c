"""What the services say of themselves reaches a collector (contract templates-and-data §6)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest
from e2b import Sandbox

from tests.product.collector import Collector, Span, collecting
from tests.product.instance import SEEDED_API_KEY, Instance, for_tests, wait_until
from tests.product.serving import serving

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def traced(collector: Collector) -> Iterator[Instance]:
    instance = for_tests()
    extra = instance.extra | {"OTEL_COLLECTOR_GRPC_ENDPOINT": collector.address, "SANDBANK_OTEL_METRICS_SECONDS": "1"}
    with serving(replace(instance, extra=extra)) as running:
        yield running


def call(instance: Instance, method: str, path: str, trace: str, body: object = None) -> tuple[int, dict[str, str], bytes]:
    """The status, headers (lower case) and body of one request to the API, sent as part of `trace`."""
    request = urllib.request.Request(
        instance.api_url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-API-Key": SEEDED_API_KEY, "Content-Type": "application/json", "traceparent": f"00-{trace}-{CALLER}-01"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, {name.lower(): value for name, value in response.headers.items()}, response.read()
    except urllib.error.HTTPError as error:
        return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()


def test_one_trace_leads_from_the_caller_through_api_and_node_to_the_agent(traced: Instance, collector: Collector) -> None:
    status, headers, body = call(traced, "POST", "/v2/sandboxes", TRACE, {"templateID": "base"})
    assert (status, headers["x-e2b-trace-id"]) == (201, TRACE)
    sandbox_id = json.loads(body)["sandboxID"]

    def spans() -> dict[str, Span]:
        return {span.name: span for span in list(collector.spans) if span.trace_id == TRACE}

    wanted = {"POST /v2/sandboxes", "/SandboxService/Create", "sandbox-spawn", "envd-init"}
    wait_until(lambda: wanted <= spans().keys(), "all spans of the create have arrived", seconds=15)
    request, create = spans()["POST /v2/sandboxes"], spans()["/SandboxService/Create"]
    assert (request.service, request.parent_id, request.attributes["http.response.status_code"]) == ("orchestration-api", CALLER, 201)
    assert (create.service, create.parent_id) == ("orchestrator", request.span_id)
    for inner in ("sandbox-spawn", "envd-init"):
        assert (spans()[inner].parent_id, spans()[inner].attributes["sandbox.id"]) == (create.span_id, sandbox_id)
    assert call(traced, "DELETE", f"/sandboxes/{sandbox_id}", TRACE)[0] == 204


def test_spans_are_named_by_route_and_a_clients_mistake_is_no_failure(traced: Instance, collector: Collector) -> None:
    trace = TRACE[:-1] + "d"
    assert call(traced, "DELETE", "/sandboxes/i0000000000000000000x", trace)[0] == 404
    wait_until(lambda: any(span.trace_id == trace for span in list(collector.spans)), "the span has arrived", seconds=15)
    (span,) = (span for span in collector.spans if span.trace_id == trace)
    assert (span.name, span.attributes["http.response.status_code"], span.failed) == ("DELETE /sandboxes/{sandbox_id}", 404, False)


def test_every_signal_says_which_service_version_and_node_it_comes_from(traced: Instance, collector: Collector) -> None:
    def running() -> float:
        point = collector.metrics.get(("orchestrator", "orchestrator.env.sandbox.running"))
        return 0 if point is None else point.as_double or point.as_int

    with Sandbox.create(timeout=30):
        wait_until(lambda: running() == 1, "the running sandbox is counted", seconds=15)
    wait_until(lambda: ("orchestration-api", "http.server.request.duration") in collector.metrics, "requests are counted", seconds=15)
    assert ("client-proxy", "client_proxy.proxy.server.connections.open") in collector.metrics
    resource = next(resource for resource in collector.resources if resource["service.name"] == "orchestrator")
    assert {"service.version", "service.instance.id", "host.id", "host.name"} <= resource.keys()


def test_log_lines_are_sent_with_the_trace_they_belong_to(traced: Instance, collector: Collector) -> None:
    trace = TRACE[:-1] + "e"
    status, _, body = call(traced, "POST", "/v2/sandboxes", trace, {"templateID": "base"})
    assert status == 201
    sandbox_id = json.loads(body)["sandboxID"]

    def lines() -> list[tuple[str, object]]:
        found = (line for line in list(collector.lines) if line.body == "sandbox created" and line.trace_id == trace)
        return [(line.service, line.attributes["sandbox_id"]) for line in found]

    wait_until(lambda: lines() == [("orchestrator", sandbox_id)], "the line has arrived", seconds=15)
    assert trace in (traced.data_dir / "logs" / "sandbank.log").read_text()
    assert call(traced, "DELETE", f"/sandboxes/{sandbox_id}", trace)[0] == 204


def test_a_collector_that_is_away_disturbs_nobody(traced: Instance) -> None:
    """Creates work, the log stays readable, stopping does not hang."""
    traced.down()
    log = traced.data_dir / "logs" / "sandbank.log"
    before = log.stat().st_size
    away = replace(traced, extra=traced.extra | {"OTEL_COLLECTOR_GRPC_ENDPOINT": "127.0.0.1:9"})
    away.up()
    for _ in range(3):
        with Sandbox.create(timeout=30) as sandbox:
            assert sandbox.commands.run("echo here").stdout == "here\n"
    away.down()
    text = log.read_bytes()[before:].decode()
    assert "Traceback" not in text
    assert sum("xport" in line for line in text.splitlines()) < 10
    traced.up()
