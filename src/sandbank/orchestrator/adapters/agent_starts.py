"""What templates start with, run by the agents of their sandboxes."""

from __future__ import annotations

from sandbank.artifacts.builds import StartCommand
from sandbank.runtime.agent.client import AgentClient
from sandbank.runtime.agent.start import Outputs, start_and_wait
from sandbank.runtime.driver import Driver


class AgentStarts:
    """Implements `sandbank.orchestrator.core.ports.Starts`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def start(self, sandbox_id: str, token: str | None, start: StartCommand, deadline_seconds: float) -> None:
        """As the port promises."""
        await start_and_wait(AgentClient(self._driver, sandbox_id, token), start, Outputs(), deadline_seconds)
