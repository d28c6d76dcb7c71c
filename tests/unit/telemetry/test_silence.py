"""Without a collector there is no telemetry, and none of its libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sandbank.telemetry.log_export import service_of
from sandbank.telemetry.settings import TelemetrySettings

_PROGRAM = """
import sys
from sandbank.telemetry import pipeline
from sandbank.telemetry.metrics import Meter
from sandbank.telemetry.settings import TelemetrySettings
from sandbank.telemetry.tracing import Tracer, outgoing, present_trace

pipeline.configure(TelemetrySettings(otel_endpoint=""), version="1", node_id="n")
tracer = Tracer(pipeline.API)
with tracer.serving("request", {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}) as span:
    span.set("key", 1)
    assert (span.trace_id, outgoing(), present_trace()) == (None, {}, {})
Meter(pipeline.API).counter("c", "d")(1, {})
pipeline.close()
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""


def test_nothing_of_opentelemetry_is_loaded_without_a_collector() -> None:
    subprocess.run([sys.executable, "-c", _PROGRAM], check=True, timeout=60)


_STRANGER = """
import logging
from sandbank.telemetry import pipeline
from sandbank.telemetry.settings import TelemetrySettings
from sandbank.telemetry.tracing import Tracer

logging.basicConfig(format="%(name)s %(message)s", level=logging.INFO)
pipeline.configure(TelemetrySettings(otel_endpoint="127.0.0.1:9"), version="1", node_id="n")
carrier = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "tracestate": ",".join("=" * 20)}
with Tracer(pipeline.API).serving("request", carrier) as span:
    assert span.trace_id == "0af7651916cd43dd8448eb211c80319c"
"""


def test_headers_of_strangers_write_nothing_into_the_log() -> None:
    outcome = subprocess.run([sys.executable, "-c", _STRANGER], check=True, timeout=60, capture_output=True, text=True)
    assert outcome.stderr == ""


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_COLLECTOR_GRPC_ENDPOINT", "h:4317"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://h:1")]
)
def test_the_collector_is_named_by_variables_that_others_know(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    settings = TelemetrySettings()
    assert (settings.otel_endpoint, settings.is_encrypted) == (value, value.startswith("https"))


@pytest.mark.parametrize(
    ("logger", "service"),
    [
        ("sandbank.api", "orchestration-api"),
        ("sandbank.client_proxy.edge", "client-proxy"),
        ("sandbank.apiary", "orchestrator"),
        ("sandbank.runtime.network.pool", "orchestrator"),
    ],
)
def test_a_line_belongs_to_the_service_whose_logger_said_it(logger: str, service: str) -> None:
    assert service_of(logger) == service
