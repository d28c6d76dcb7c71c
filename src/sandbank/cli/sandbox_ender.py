"""Ends the node's sandboxes when the whole installation goes down, and not when it only restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from sandbank.contracts.orchestrator import SandboxDeleteRequest
from sandbank.domain.errors import NotFoundError, SandbankError
from sandbank.rpc.orchestrator import OrchestratorClient

_AT_ONCE = 16


class SandboxEnder:
    """A service that does nothing until it is stopped: between the orchestrator and the services that could create more sandboxes."""

    name = "sandbox ender"

    def __init__(self, address: str, is_wanted: Callable[[], bool]) -> None:
        self._address = address
        self._is_wanted = is_wanted
        self._log = structlog.get_logger("sandbank.sandbox_ender")

    async def start(self) -> None:
        """Nothing to do yet."""

    async def wait(self) -> None:
        """Never returns by itself."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """End every sandbox of this node if that was asked for."""
        if self._is_wanted():
            ended = await end_all(self._address)
            self._log.info("ended the sandboxes", count=ended)


async def end_all(address: str) -> int:
    """Delete every sandbox of the orchestrator at `address`, some at a time, and say how many there were.

    Raises the first error other than a sandbox that ended by itself meanwhile, after having tried all.
    """
    client = OrchestratorClient(address)
    try:
        sandboxes = (await client.list()).sandboxes
        turns = asyncio.Semaphore(_AT_ONCE)

        async def end(sandbox_id: str) -> None:
            async with turns:
                with suppress(NotFoundError):
                    await client.delete(SandboxDeleteRequest(sandbox_id=sandbox_id))

        results = await asyncio.gather(*(end(item.sandbox_id or item.config.sandbox_id) for item in sandboxes), return_exceptions=True)
        for result in results:
            if isinstance(result, SandbankError):
                raise result
        return len(sandboxes)
    finally:
        await client.close()
