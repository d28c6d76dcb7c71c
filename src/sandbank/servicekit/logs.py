"""Logs of the services: structlog for our own lines, the standard library's loggers of dependencies through the same renderer."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor

from sandbank.telemetry.tracing import present_trace

_NOISY = ("asyncio", "aiosqlite", "alembic", "grpc", "httpcore", "httpx", "uvicorn", "sqlalchemy.engine")


def configure(level: str, json: bool, *, stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (standard error), for people or as one JSON object per line.

    `level` is one of debug, info, warning, error, in any case; `ValueError` otherwise. May be called again, the last call holds.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"unknown log level {level!r}")
    target = stream or sys.stderr
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_trace,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
    ]
    structlog.configure(
        processors=[*common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(json, target)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def _with_trace(_logger: object, _method: str, event: EventDict) -> EventDict:
    event.update(present_trace())
    return event


def _rendering(json: bool, target: TextIO) -> list[Processor]:
    if json:
        return [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(sort_keys=False)]
    return [structlog.dev.ConsoleRenderer(colors=target.isatty(), pad_event_to=0)]
