"""Spans, and the W3C headers that carry them from service to service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from sandbank.telemetry import pipeline

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan

Value = str | int | float | bool


class Span(Protocol):
    """A piece of work in a trace."""

    @property
    def trace_id(self) -> str | None:
        """32 hexadecimal digits; none where nothing is traced."""

    def set(self, key: str, value: Value) -> None:
        """Note something about it."""

    def name(self, name: str) -> None:
        """Call it something that was not known when it began."""

    def fail(self, reason: str) -> None:
        """Mark it as failed."""


class _Untraced:
    trace_id = None

    def set(self, key: str, value: Value) -> None:
        return

    def name(self, name: str) -> None:
        return

    def fail(self, reason: str) -> None:
        return


class _Traced:
    def __init__(self, span: OtelSpan) -> None:
        self._span = span

    @property
    def trace_id(self) -> str:
        return f"{self._span.get_span_context().trace_id:032x}"

    def set(self, key: str, value: Value) -> None:
        self._span.set_attribute(key, value)

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, reason: str) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_status(StatusCode.ERROR, reason)


_UNTRACED = _Untraced()


class Tracer:
    """Makes the spans of one service."""

    def __init__(self, service: str) -> None:
        current = pipeline.current()
        self._tracer = None if current is None else current.tracer_provider(service).get_tracer("sandbank")

    @contextmanager
    def span(self, name: str, **attributes: Value) -> Iterator[Span]:
        """Work of our own; exceptions mark it as failed and travel on. Attribute names: `_` stands for `.`."""
        if self._tracer is None:
            yield _UNTRACED
            return
        named = {key.replace("_", "."): value for key, value in attributes.items()}
        with self._tracer.start_as_current_span(name, attributes=named) as span:
            yield _Traced(span)

    @contextmanager
    def serving(self, name: str, carrier: Mapping[str, str]) -> Iterator[Span]:
        """A request that somebody sent with `carrier` as its headers, lower case: part of their trace, where they have one."""
        if self._tracer is None:
            yield _UNTRACED
            return
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract(dict(carrier))
        with self._tracer.start_as_current_span(name, context=parent, kind=SpanKind.SERVER) as span:
            yield _Traced(span)


def outgoing() -> dict[str, str]:
    """The headers that make another service's work part of the present trace; none without one."""
    if pipeline.current() is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return headers


def present_trace() -> dict[str, str]:
    """IDs of the trace and span that we are in, for log lines; none without one."""
    if pipeline.current() is None:
        return {}
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"} if context.is_valid else {}
