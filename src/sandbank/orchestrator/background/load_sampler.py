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
        self.latest = machine.sample()

    async def run(self) -> None:
        """Forever. A sample that fails leaves the one before."""
        log = structlog.get_logger("sandbank.orchestrator")
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            try:
                self.latest = self._machine.sample()
            except OSError as error:
                log.warning("machine not sampled", error=repr(error))
