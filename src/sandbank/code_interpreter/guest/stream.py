"""Events as lines of JSON, with a line in between whenever nothing happens for a while."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

from . import events
from .events import Event

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 5.0


async def lines(execution: AsyncIterator[Event], keepalive_seconds: float = KEEPALIVE_SECONDS) -> AsyncIterator[bytes]:
    """To the end of the execution, and the line that says so. Closed or cancelled before that, the execution is closed."""
    upcoming: asyncio.Future[Event] | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(execution))
            done, _ = await asyncio.wait({upcoming}, timeout=keepalive_seconds)
            if not done:
                yield line(events.KEEPALIVE)
                continue
            try:
                event = upcoming.result()
            except StopAsyncIteration:
                yield line(events.END)
                return
            except Exception:
                log.exception("an execution ended without a word")
                yield line(
                    events.error("UnexpectedEndOfExecution", "Connection to the execution was closed before the execution was finished")
                )
                yield line(events.END)
                return
            finally:
                upcoming = None
            yield line(event)
    finally:
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.wait({upcoming})
        else:
            await execution.aclose()  # type: ignore[attr-defined]


def line(event: Event) -> bytes:
    """One object; what a kernel sent that JSON cannot say becomes text."""
    return json.dumps(event, ensure_ascii=False, default=str, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
