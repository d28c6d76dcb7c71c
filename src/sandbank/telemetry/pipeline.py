"""The way to the collector: one provider of each kind per service, made once per process, before the services are.

Without a collector none of OpenTelemetry is imported, and everything in this package costs a comparison with `None`.
"""

from __future__ import annotations

import logging
import platform
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbank.telemetry.settings import TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

# Contract templates-and-data §6.1: what E2B's services call themselves.
API, ORCHESTRATOR, CLIENT_PROXY, TEMPLATE_MANAGER = "orchestration-api", "orchestrator", "client-proxy", "template-manager"

_FLUSH_MILLISECONDS = 3000
_LOUD = logging.getLogger("opentelemetry")


class _OncePerOutage(logging.Filter):
    """Of an exporter's complaints about a collector that is away, one in so many is enough."""

    def __init__(self, one_in: int = 30) -> None:
        super().__init__()
        self._one_in = one_in
        self._seen: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        count = self._seen[record.name] = self._seen.get(record.name, -1) + 1
        return count % self._one_in == 0


@dataclass(slots=True)
class Pipeline:
    """The providers of a process whose telemetry goes somewhere."""

    settings: TelemetrySettings
    version: str
    node_id: str
    instance_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    tracers: dict[str, TracerProvider] = field(default_factory=dict)
    meters: dict[str, MeterProvider] = field(default_factory=dict)
    loggers: dict[str, LoggerProvider] = field(default_factory=dict)

    def resource(self, service: str) -> Resource:
        """What every span, point and line of a service carries (contract templates-and-data §6.1)."""
        from opentelemetry.sdk.resources import Resource

        return Resource.create(
            {
                "service.name": service,
                "service.version": self.version,
                "service.instance.id": self.instance_id,
                "host.id": self.node_id,
                "host.name": platform.node(),
            }
        )

    def tracer_provider(self, service: str) -> TracerProvider:
        """Spans in batches, off the caller's thread; a full queue drops, nothing waits."""
        if (provider := self.tracers.get(service)) is None:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            provider = self.tracers[service] = TracerProvider(resource=self.resource(service), shutdown_on_exit=False)
            exporter = OTLPSpanExporter(endpoint=self.settings.otel_endpoint, insecure=not self.settings.is_encrypted)
            provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        return provider

    def meter_provider(self, service: str) -> MeterProvider:
        """Metrics at the configured pace; histograms are exponential, as E2B's are."""
        if (provider := self.meters.get(service)) is None:
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
            from opentelemetry.sdk.metrics import Histogram, MeterProvider
            from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
            from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

            exporter = OTLPMetricExporter(
                endpoint=self.settings.otel_endpoint,
                insecure=not self.settings.is_encrypted,
                preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()},
            )
            reader = PeriodicExportingMetricReader(exporter, export_interval_millis=self.settings.otel_metrics_seconds * 1000)
            provider = self.meters[service] = MeterProvider([reader], resource=self.resource(service), shutdown_on_exit=False)
        return provider

    def logger_provider(self, service: str) -> LoggerProvider:
        """Log lines in batches."""
        if (provider := self.loggers.get(service)) is None:
            from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
            from opentelemetry.sdk._logs import LoggerProvider
            from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

            provider = self.loggers[service] = LoggerProvider(resource=self.resource(service), shutdown_on_exit=False)
            exporter = OTLPLogExporter(endpoint=self.settings.otel_endpoint, insecure=not self.settings.is_encrypted)
            provider.add_log_record_processor(BatchLogRecordProcessor(exporter, schedule_delay_millis=1000))
        return provider

    def close(self) -> None:
        """Send what is there, within a few seconds, and stop. Blocks."""
        for traces in self.tracers.values():
            traces.force_flush(_FLUSH_MILLISECONDS)
            traces.shutdown()
        for metrics in self.meters.values():
            metrics.shutdown(_FLUSH_MILLISECONDS)
        for lines in self.loggers.values():
            lines.force_flush(_FLUSH_MILLISECONDS)
            lines.shutdown()


_current: Pipeline | None = None


def configure(settings: TelemetrySettings, *, version: str, node_id: str) -> None:
    """Say where the telemetry of this process goes; to be called before services are built. Without an endpoint: nowhere."""
    global _current
    _current = None
    if settings.otel_endpoint is not None:
        # A line for each odd word in the headers of whoever asks: strangers could fill the disk.
        logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)
        _LOUD.addFilter(once := _OncePerOutage())
        for name in ("trace_exporter", "metric_exporter", "_log_exporter", "exporter"):
            logging.getLogger(f"opentelemetry.exporter.otlp.proto.grpc.{name}").addFilter(once)
        _current = Pipeline(settings, version, node_id)


def current() -> Pipeline | None:
    """Where telemetry goes, if anywhere."""
    return _current


def close() -> None:
    """Send what is there and forget the pipeline. Blocks for seconds where no collector answers."""
    global _current
    pipeline, _current = _current, None
    if pipeline is not None:
        pipeline.close()
