"""The API as a process of its own."""

from __future__ import annotations

from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import build
from sandbank.servicekit.supervisor import Supervisor
from sandbank.state.catalog import MemoryCatalog


async def run(settings: ApiSettings | None = None) -> None:
    """Serve until a signal; raises what kept it from starting or ended it.

    Routes stay in this process, which is right for as long as the client proxy shares it or asks the nodes.
    """
    await Supervisor([build(settings or ApiSettings(), catalog=MemoryCatalog())]).run()
