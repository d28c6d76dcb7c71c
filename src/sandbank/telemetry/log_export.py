"""Log lines over OTLP, with the trace they belong to."""

from __future__ import annotations

import logging
import time
from typing import Any

from sandbank.telemetry import pipeline
from sandbank.telemetry.pipeline import API, CLIENT_PROXY, ORCHESTRATOR, TEMPLATE_MANAGER, Pipeline

# By whose logger it is; everything else is said by the process, which is the node.
_SERVICES = (
    ("sandbank.api", API),
    ("sandbank.client_proxy", CLIENT_PROXY),
    ("sandbank.template_manager", TEMPLATE_MANAGER),
)
_OWN_KEYS = frozenset(("event", "level", "timestamp", "exc_info", "_record", "_from_structlog", "_logger", "_name"))


def service_of(logger: str) -> str:
    """Which service's line it is."""
    return next((service for prefix, service in _SERVICES if logger == prefix or logger.startswith(prefix + ".")), ORCHESTRATOR)


def _plain(value: object) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else str(value)


class LogExport(logging.Handler):
    """Hands lines to the collector's queue; never waits, never raises."""

    def __init__(self, target: Pipeline) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one line, unless it is about exporting: that would never end."""
        if record.name.startswith("opentelemetry"):
            return
        try:
            self._queue(record)
        except Exception:  # noqa: BLE001  # logging must not break what logs
            self.handleError(record)

    def _queue(self, record: logging.LogRecord) -> None:
        from opentelemetry._logs import LogRecord, SeverityNumber

        fields: dict[str, Any] = dict(record.msg) if isinstance(record.msg, dict) else {"event": record.getMessage()}
        attributes = {key: _plain(value) for key, value in fields.items() if key not in _OWN_KEYS and value is not None}
        if record.exc_info and record.exc_info[1] is not None:
            attributes |= {"exception.type": type(record.exc_info[1]).__name__, "exception.message": str(record.exc_info[1])}
        level = min(record.levelno, logging.CRITICAL)
        line = LogRecord(
            timestamp=int(record.created * 1e9),
            observed_timestamp=time.time_ns(),
            severity_number=SeverityNumber(max(1, (level // 10 - 1) * 4 + 5)),
            severity_text=record.levelname,
            body=str(fields.get("event", "")),
            attributes=attributes,
        )
        self._target.logger_provider(service_of(record.name)).get_logger(record.name).emit(line)


def export_logs() -> None:
    """Send the lines of this process, too; to be called once logging is configured. Without a collector nothing happens."""
    current = pipeline.current()
    if current is not None:
        logging.getLogger().addHandler(LogExport(current))
