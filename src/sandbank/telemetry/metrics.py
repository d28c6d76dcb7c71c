"""Counters, durations and levels of one service (names: contract templates-and-data §6.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from sandbank.telemetry import pipeline

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation

Attributes = Mapping[str, str | int | bool]
Count = Callable[[int, Attributes], None]
Record = Callable[[float, Attributes], None]


def _nothing(value: float, attributes: Attributes) -> None:
    return


class Meter:
    """Makes a service's instruments; without a collector they do nothing."""

    def __init__(self, service: str) -> None:
        current = pipeline.current()
        self._meter = None if current is None else current.meter_provider(service).get_meter("sandbank")

    def counter(self, name: str, description: str) -> Count:
        """A function that adds."""
        if self._meter is None:
            return _nothing
        counter = self._meter.create_counter(name, description=description)
        return lambda value, attributes: counter.add(value, dict(attributes))

    def histogram(self, name: str, unit: str, description: str) -> Record:
        """A function that records one value; durations are in `ms`, as E2B's are."""
        if self._meter is None:
            return _nothing
        histogram = self._meter.create_histogram(name, unit=unit, description=description)
        return lambda value, attributes: histogram.record(value, dict(attributes))

    def gauge(self, name: str, description: str, observe: Callable[[], float]) -> None:
        """A level that is looked at whenever metrics are sent. `observe` runs in another thread: it may only read."""
        if self._meter is None:
            return
        from opentelemetry.metrics import Observation

        def look(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(observe())]

        self._meter.create_observable_gauge(name, callbacks=[look], description=description)
