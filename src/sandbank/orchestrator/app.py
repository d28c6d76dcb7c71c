"""The orchestrator as a process of its own."""

from __future__ import annotations

from sandbank.orchestrator.settings import OrchestratorSettings
from sandbank.orchestrator.wiring import build
from sandbank.servicekit.supervisor import Supervisor


async def run(settings: OrchestratorSettings) -> None:
    """Serve until SIGTERM or SIGINT; raise the domain error that kept it from starting or ended it."""
    await Supervisor([build(settings)]).run()
