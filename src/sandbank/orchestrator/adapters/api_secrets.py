"""Secrets and workload tokens, asked of the API when a request of a sandbox needs them, and kept in memory for seconds."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from weakref import WeakValueDictionary

from sandbank.domain.errors import NotFoundError, UnavailableError
from sandbank.orchestrator.core.inventory import Inventory
from sandbank.rpc.secret import SecretClient

_KEPT_SECONDS = 10.0
_MISSING_SECONDS = 2.0
_KEPT = 4096
_CALL_SECONDS = 5.0

_Key = tuple[str, str, str]


class ApiSecrets:
    """Implements `sandbank.runtime.driver.SecretSource`. A secret that was changed or deleted is used for ten seconds more at most.

    `address` is the API's internal gRPC, `host:port` or `unix:path`; None: there is none to ask.
    """

    def __init__(self, address: str | None, inventory: Inventory) -> None:
        self._client = None if address is None else SecretClient(address)
        self._inventory = inventory
        self._kept: OrderedDict[_Key, tuple[float, str | None]] = OrderedDict()
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def values(self, sandbox_id: str, references: Sequence[str]) -> Mapping[str, str]:
        """See `SecretSource.values`. What many requests want at once is asked for once."""
        if self._client is None:
            raise UnavailableError("this node does not know an API that has secrets: see SANDBANK_API_GRPC_ADDRESS")
        execution_id = self._execution_of(sandbox_id)
        async with self._asking.setdefault(sandbox_id, asyncio.Lock()):
            wanted = [name for name in references if not self._is_known((sandbox_id, execution_id, name))]
            if wanted:
                found = await self._client.values(sandbox_id, execution_id, wanted, _CALL_SECONDS)
                for name in wanted:
                    self._keep((sandbox_id, execution_id, name), found.get(name))
            known = {name: self._kept[sandbox_id, execution_id, name][1] for name in references}
        return {name: value for name, value in known.items() if value is not None}

    async def close(self) -> None:
        """Break off what is in flight."""
        self._kept.clear()
        if self._client is not None:
            await self._client.close()

    def _execution_of(self, sandbox_id: str) -> str:
        found = self._inventory.running.get(sandbox_id) or self._inventory.starting.get(sandbox_id)
        if found is None:
            raise NotFoundError("sandbox not found")
        return found.execution_id

    def _is_known(self, key: _Key) -> bool:
        return key in self._kept and self._kept[key][0] > time.monotonic()

    def _keep(self, key: _Key, value: str | None) -> None:
        now = time.monotonic()
        self._kept.pop(key, None)
        self._kept[key] = (now + (_MISSING_SECONDS if value is None else _KEPT_SECONDS), value)
        # Oldest first: values do not stay in memory longer than they are good for while others come.
        while len(self._kept) > _KEPT or next(iter(self._kept.values()))[0] <= now:
            self._kept.popitem(last=False)
