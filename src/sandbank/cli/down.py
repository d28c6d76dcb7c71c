"""`sandbank down`: the services end, and with them every sandbox unless they are to be kept for the next start."""

from __future__ import annotations

import asyncio

import uvloop

from sandbank.cli.console import say
from sandbank.cli.embedded import node_settings
from sandbank.cli.installation import Installation
from sandbank.cli.preflight import require_root
from sandbank.cli.sandbox_ender import end_all
from sandbank.cli.settings import NodeSettings
from sandbank.orchestrator.wiring import build as build_orchestrator
from sandbank.servicekit import logs

_STOP_SECONDS = 180.0


def down(settings: NodeSettings, *, keep_sandboxes: bool) -> None:
    """Return when all has ended. Sandboxes of a service that was killed are ended as well. Raises domain errors."""
    require_root()
    installation = Installation(settings)
    if installation.is_held():
        installation.ask_to_end(end_sandboxes=not keep_sandboxes, timeout_seconds=_STOP_SECONDS)
        say("Stopped; the sandboxes run on." if keep_sandboxes else "Stopped.")
        return
    if installation.last_service() is None:
        say("Not running.")
        return
    if keep_sandboxes:
        say("Not running; sandboxes that are left run on.")
        return
    if not installation.try_lock():
        return
    try:
        logs.configure("warning", json=False)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            count = runner.run(_end_left_behind(settings))
        installation.forget()
    finally:
        installation.unlock()
    say(f"Was not running; ended {count} sandboxes that were left.")


async def _end_left_behind(settings: NodeSettings) -> int:
    """A service that was killed, or told to keep them, leaves sandboxes: adopt them once more, to end them."""
    orchestrator = build_orchestrator(node_settings(settings))
    try:
        await orchestrator.start()
        return await end_all(settings.orchestrator_address)
    finally:
        await orchestrator.stop()
