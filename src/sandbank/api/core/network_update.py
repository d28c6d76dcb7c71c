"""Replacing what a running sandbox may reach (REST contract §10.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sandbank.api.core.access import get_extendable, not_found
from sandbank.api.core.network_options import NetworkChecker, echoed
from sandbank.api.core.payload import check_network
from sandbank.api.core.ports import Nodes, Sandboxes
from sandbank.api.core.team import Team
from sandbank.domain.errors import NotFoundError
from sandbank.domain.sandbox import Sandbox


class NetworkUpdater:
    """The node enforces and remembers first, so that what is acknowledged survives whatever happens to us."""

    def __init__(self, sandboxes: Sandboxes, nodes: Nodes, checker: NetworkChecker) -> None:
        self._sandboxes = sandboxes
        self._nodes = nodes
        self._checker = checker

    async def update(self, team: Team, sandbox_id: str, sent: Mapping[str, Any], allow_internet_access: bool | None) -> None:
        """Replace all egress rules by those in `sent`; what is missing there is cleared. In force when it returns.

        `NotFoundError`, `ConflictError` while it is ending, `InvalidError` and `DeniedError` as at create.
        """
        async with self._sandboxes.lock(sandbox_id):
            sandbox = await get_extendable(self._sandboxes, team, sandbox_id)
            denial = "Egress proxy (egressProxy) is not enabled for this team."
            wish = await self._checker.check_egress(sent, allow_internet_access, envd_version=sandbox.envd_version, denial=denial)
            network = echoed(sandbox.network or {}, wish)
            check_network(network)

            def change(current: Sandbox) -> Sandbox:
                allowed = current.allow_internet_access if allow_internet_access is None else allow_internet_access
                return replace(
                    current,
                    network=network or None,
                    allow_internet_access=allowed,
                    egress_proxy_password=None if wish.proxy is None else wish.proxy.password,
                    egress_proxy_ca_cert=None if wish.proxy is None or wish.proxy.tls is None else wish.proxy.tls[1],
                )

            try:
                await self._nodes.set_egress(change(sandbox), wish, allow_internet_access)
            except NotFoundError as error:
                raise not_found(sandbox_id) from error
            if await self._sandboxes.update(sandbox_id, sandbox.execution_id, change) is None:
                raise not_found(sandbox_id)
