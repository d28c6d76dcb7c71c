"""A line of a sandbox's or a build's log, as it is kept (templates contract §5.4)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LEVELS = ("debug", "info", "warn", "error")
"""From the least to the most severe."""

MAX_LINE_BYTES = 192 * 1024
"""Longer lines are not kept (templates contract §5.1)."""

ENVD = "envd"
ORCHESTRATOR = "orchestrator"
TEMPLATE_MANAGER = "template-manager"
METRICS = "metrics"
"""The category that readers leave out (rest-api contract §13.1)."""


@dataclass(frozen=True, slots=True)
class LogSubject:
    """Whose line it is. An ID that does not apply is empty."""

    team_id: str
    sandbox_id: str = ""
    template_id: str = ""
    build_id: str = ""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line. `fields` is everything but time, level, message and IDs, as JSON has it."""

    timestamp_ns: int
    subject: LogSubject
    service: str
    level: str
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    category: str = "default"

    def line(self) -> str:
        """The whole as one JSON object, with the IDs under the names of the contract."""
        subject = self.subject
        return json.dumps(
            {
                **self.fields,
                "timestamp": rfc3339_nano(self.timestamp_ns),
                "level": self.level,
                "message": self.message,
                "logger": str(self.fields.get("logger", self.service)),
                "service": self.service,
                "category": self.category,
                "teamID": subject.team_id,
                "envID": subject.template_id,
                "buildID": subject.build_id,
                "sandboxID": subject.sandbox_id,
                "instanceID": subject.sandbox_id,
            },
            separators=(",", ":"),
        )


def rfc3339_nano(timestamp_ns: int) -> str:
    """UTC, all nine digits."""
    seconds, fraction = divmod(timestamp_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def strict_json(data: str | bytes) -> Any:
    """What every JSON parser would make of `data`; `ValueError` for anything else, Python's infinities and endless depth among it."""
    try:
        return json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:32]} is too large")
    return number


def flatten(values: Mapping[str, Any]) -> dict[str, str]:
    """What clients see as `fields`: texts, numbers and truth values as texts; what is nested is left out (rest-api contract §13.1)."""
    return {name: _text(value) for name, value in values.items() if isinstance(value, str | int | float)}


def _text(value: str | int | float) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def level_of(value: object) -> str:
    """One of `LEVELS`: what is missing or unknown counts as info (templates contract §5.4)."""
    text = value.lower() if isinstance(value, str) else ""
    text = {"warning": "warn", "fatal": "error", "panic": "error", "trace": "debug"}.get(text, text)
    return text if text in LEVELS else "info"
