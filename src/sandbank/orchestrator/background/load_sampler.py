"""Keeps a fresh sample of the machine's load at hand."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from sandbank.orchestrator.core.machine import MachineLoad

_PERIOD_SECONDS = 5.0


class Samples(Protocol):
    """Where samples come from."""

    def sample(self) -> MachineLoad: ...


class LoadSampler:
    """`latest` is at most some seconds old while `run` runs."""

    def __init__(self, machine: Samples) -> None:
        self._machine = machine
        self._latest: MachineLoad | None = None

    def latest(self) -> MachineLoad:
        """The sample at hand; the first one is taken when it is asked for. `OSError` when that fails."""
        if self._latest is None:
            self._latest = self._machine.sample()
        return self._latest

    async def run(self) -> None:
        """Forever. A sample that fails leaves the one before."""
        log = structlog.get_logger("sandbank.orchestrator")
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            try:
                self._latest = self._machine.sample()
            except OSError as error:
                log.warning("machine not sampled", error=repr(error))
