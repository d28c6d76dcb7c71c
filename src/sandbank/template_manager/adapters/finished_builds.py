"""Where builds go when they are done, and where templates find those that they start from."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from sandbank.artifacts.builds import Build, BuildStore, memory_name
from sandbank.artifacts.layers import LayerStore
from sandbank.runtime.driver import Driver
from sandbank.template_manager.core.order import BuildOrder
from sandbank.template_manager.core.ports import Result
from sandbank.version import ENVD_VERSION


class StoredBuilds:
    """Implements `sandbank.template_manager.core.ports.FinishedBuilds`.

    `fetch` brings a build from storage shared with other nodes, False when it is not there; `share` stores a new one there.
    """

    def __init__(
        self,
        data_dir: Path,
        driver: Driver,
        env_vars: Mapping[str, str],
        fetch: Callable[[str], Awaitable[bool]],
        share: Callable[[str], Awaitable[None]],
    ) -> None:
        self._data_dir = data_dir
        self._store = BuildStore(data_dir / "artifacts")
        self._layers = LayerStore(data_dir / "artifacts")
        self._driver = driver
        self._env_vars = dict(env_vars)
        self._fetch = fetch
        self._share = share

    async def find(self, build_id: str) -> Build | None:
        """As the port promises."""
        found = self._store.find(build_id)
        if found is None and not self.has_snapshot(build_id) and await self._fetch(build_id):
            found = self._store.find(build_id)
        return found

    def find_size(self, build_id: str) -> int | None:
        """In MiB, of one that is on this node."""
        found = self._store.find(build_id)
        return None if found is None else found.size_mib

    def has_snapshot(self, build_id: str) -> bool:
        """As the port promises."""
        return self._driver.has_snapshot(build_id)

    async def publish(self, order: BuildOrder, layers: Sequence[str], result: Result) -> int:
        """As the port promises."""
        size_mib = await asyncio.to_thread(self._publish, order, layers, result)
        # Whoever hears that it is done may have it started on any node: the memory first, which a node looks for when it has the rest.
        if self.has_snapshot(memory_name(order.build_id)):
            await self._share(memory_name(order.build_id))
        await self._share(order.build_id)
        return size_mib

    async def discard(self, build_id: str) -> None:
        """As the port promises; layers go when nothing has needed them for some time."""
        self._store.remove(build_id)
        await self._driver.remove_snapshot(memory_name(build_id))

    def _publish(self, order: BuildOrder, layers: Sequence[str], result: Result) -> int:
        # Layers that sandboxes wrote are on the file system of the sandboxes, their names on that of the artefacts.
        for place in (self._data_dir / "sandboxes", self._store.layers_dir):
            subprocess.run(["sync", "--file-system", str(place)], check=True)
        build = Build(
            build_id=order.build_id,
            template_id=order.template_id,
            layers=tuple(self._store.layers_dir / name for name in layers),
            default_user=result.default_user,
            default_workdir=result.default_workdir,
            env_vars=self._env_vars,
            envd_version=ENVD_VERSION,
            size_mib=sum(self._layers.size_mib(name) for name in layers),
            start=result.start,
            context=result.context,
        )
        self._store.publish(build)
        return build.size_mib
