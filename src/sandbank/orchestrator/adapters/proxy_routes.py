"""The node's sandboxes as routes of its proxy."""

from __future__ import annotations

import errno
import os
import socket
from functools import partial

from sandbank.orchestrator.adapters.log_channels import LOG_PORT
from sandbank.orchestrator.core.sandbox import RunningSandbox
from sandbank.proxy.routes import LocalRoute, RouteTable
from sandbank.runtime.driver import Driver


class ProxyRoutes:
    """Opens and closes routes in `table`; connections are dialled by `driver`."""

    def __init__(self, table: RouteTable, driver: Driver) -> None:
        self._table = table
        self._driver = driver

    def open(self, sandbox: RunningSandbox) -> None:
        """Reachable from now on."""
        self._table.add(
            LocalRoute(
                sandbox_id=sandbox.sandbox_id,
                execution_id=sandbox.execution_id,
                dial=partial(self._dial, sandbox.sandbox_id),
                traffic_token=sandbox.traffic_token,
                mask_request_host=sandbox.mask_host,
                https_ports=sandbox.https_ports,
            )
        )

    def close(self, sandbox_id: str) -> None:
        """Unreachable from now on, existing connections are cut. Idempotent."""
        if self._table.find(sandbox_id) is not None:
            self._table.remove(sandbox_id)

    def _dial(self, sandbox_id: str, port: int) -> socket.socket:
        """As `Driver.dial`; the port where the node itself listens is closed to traffic, or strangers could write into the log."""
        if port == LOG_PORT:
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return self._driver.dial(sandbox_id, port)
