"""The build service of a node, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from sandbank.aiokit.tasks import TaskGroup
from sandbank.artifacts.layer_index import LayerIndex
from sandbank.domain.log_record import TEMPLATE_MANAGER, LogRecord, LogSubject
from sandbank.rpc.server import RpcServer
from sandbank.rpc.template_manager import add_template_service
from sandbank.runtime.driver import Driver
from sandbank.servicekit.ports import require_free
from sandbank.template_manager.adapters.build_sandboxes import DriverSandboxes
from sandbank.template_manager.adapters.finished_builds import StoredBuilds
from sandbank.template_manager.adapters.image_bases import ImageBases, PushedImages
from sandbank.template_manager.adapters.kept_layers import KeptLayers
from sandbank.template_manager.adapters.order_directory import OrderDirectory
from sandbank.template_manager.adapters.uploaded_files import UploadedFiles
from sandbank.template_manager.core.build_log import BuildLog, LogEntry
from sandbank.template_manager.core.build_queue import BuildQueue
from sandbank.template_manager.core.order import BuildOrder
from sandbank.template_manager.core.recipe_run import RecipeRun, Tools
from sandbank.template_manager.endpoints.template_service import TemplateEndpoints
from sandbank.template_manager.settings import TemplateManagerSettings, TemplateSettings
from sandbank.template_manager.wiring import build_images

_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What the build service has of its node. `rpc` is the server of the node's other services, not yet started."""

    data_dir: Path
    driver: Driver
    rpc: RpcServer
    fetch: Callable[[str], Awaitable[bool]]
    share: Callable[[str], Awaitable[None]]
    write_log: Callable[[LogRecord], None]
    pushed: PushedImages | None = None


class TemplateManagerService:
    """Builds templates on a node: gRPC on a port of its own, and on the orchestrator's."""

    name = "template-manager"

    def __init__(self, queue: BuildQueue, files: UploadedFiles, rpc: RpcServer, settings: TemplateManagerSettings) -> None:
        self._queue = queue
        self._files = files
        self._rpc = rpc
        self._settings = settings
        self._roots = TaskGroup(self.name, _log_failure)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve, and go on with what was not done. The orchestrator must have started: its driver runs the sandboxes."""
        bind, port = self._settings.template_manager_bind, self._settings.template_manager_port
        require_free(bind, port, "the template manager")
        await asyncio.to_thread(self._files.sweep)
        await self._rpc.start(f"{bind}:{port}")
        self._serving = self._roots.start("rpc", self._rpc.wait())
        self._queue.start()

    async def wait(self) -> None:
        """Until the server ends."""
        if self._serving is not None:
            await asyncio.wait({self._serving})  # and not the task itself: who is cancelled here has yet to stop the server

    async def stop(self) -> None:
        """Builds that run are broken off; the next start goes on with them."""
        await self._rpc.stop(_STOP_SECONDS)
        await self._roots.close()
        await self._queue.stop()


def build_service(parts: NodeParts, settings: TemplateManagerSettings, templates: TemplateSettings) -> TemplateManagerService:
    """A node's build service, not yet started."""
    artifacts = parts.data_dir / "artifacts"
    images = build_images(artifacts, templates, trusted=() if parts.pushed is None else (parts.pushed.trusted,))
    env_vars = {"LANG": "C.UTF-8", **images.env_vars}
    files = UploadedFiles(artifacts, settings.upload_limit_mib << 20)
    builds = StoredBuilds(parts.data_dir, parts.driver, env_vars, parts.fetch, parts.share)
    tools = Tools(
        bases=ImageBases(images, parts.pushed),
        sandboxes=DriverSandboxes(parts.driver, artifacts / "layers", env_vars),
        layers=KeptLayers(LayerIndex(artifacts)),
        files=files,
        builds=builds,
    )

    async def run(order: BuildOrder, log: BuildLog) -> int:
        return await RecipeRun(order, tools, log).run()

    def on_entry(order: BuildOrder, entry: LogEntry) -> None:
        subject = LogSubject(order.team_id, template_id=order.template_id, build_id=order.build_id)
        parts.write_log(LogRecord(entry.timestamp_ns, subject, TEMPLATE_MANAGER, entry.level, entry.message, entry.fields))

    queue = BuildQueue(
        run=run,
        discard=builds.discard,
        orders=OrderDirectory(artifacts),
        find_size=builds.find_size,
        on_entry=on_entry,
        at_once=settings.concurrent_builds,
    )
    endpoints = TemplateEndpoints(queue, files, settings.upload_base_url.rstrip("/"))
    rpc = RpcServer(_log_failure)
    for server in (parts.rpc, rpc):
        add_template_service(server, endpoints)
    return TemplateManagerService(queue, files, rpc, settings)


def _log_failure(task: str, error: BaseException) -> None:
    structlog.get_logger("sandbank.template_manager").error("failed", task=task, exc_info=error)
