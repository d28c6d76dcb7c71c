"""ipykernel, as the code interpreter wants it."""

from __future__ import annotations

import zmq
from ipykernel.kernelapp import IPKernelApp
from traitlets.config import Config

from .display import register

MESSAGES_KEPT = 100_000
"""That the server is behind: beyond it, ZeroMQ drops the newest. Its default of 1,000 loses lines of a chatty cell."""


class KernelApp(IPKernelApp):  # type: ignore[misc]
    """No colours, no history file, and room for output."""

    def init_iopub(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """The context's options count for the sockets that are made later."""
        context.setsockopt(zmq.SNDHWM, MESSAGES_KEPT)
        super().init_iopub(context)


def main() -> None:
    """Runs until the server ends it."""
    config = Config()
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.xmode = "Context"
    config.HistoryManager.enabled = False
    config.IPKernelApp.matplotlib = None
    app = KernelApp.instance(config=config)
    app.initialize()
    register(app.shell)
    app.start()
