"""A node with its build service, spoken to over gRPC as the API does."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import tarfile
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from sandbank.cli.node import build_node
from sandbank.contracts.orchestrator import SandboxConfig, SandboxCreateRequest, SandboxDeleteRequest
from sandbank.contracts.template_manager import (
    FromTemplateConfig,
    InitLayerFileUploadRequest,
    LayerFileChunk,
    TemplateBuildDeleteRequest,
    TemplateBuildState,
    TemplateConfig,
    TemplateCreateRequest,
    TemplateStatusRequest,
    TemplateStep,
)
from sandbank.domain.errors import NotFoundError
from sandbank.orchestrator.settings import OrchestratorSettings
from sandbank.orchestrator.wiring import OrchestratorService
from sandbank.rpc.orchestrator import OrchestratorClient
from sandbank.rpc.template_manager import TemplateClient
from sandbank.runtime.agent.client import AgentClient
from sandbank.runtime.agent.command import AgentCommand
from sandbank.template_manager import wiring
from sandbank.template_manager.app import TemplateManagerService
from sandbank.template_manager.settings import TemplateManagerSettings, TemplateSettings
from tests.product.instance import for_tests

SLOT = int(os.environ.get("SANDBANK_TEST_SLOT", "0"))
DATA_DIR = Path(f"/var/lib/sandbank-test-builds-{SLOT}")  # the agent's bundle in it is assembled once and not for every run
TEAM = "team"
TOKEN = "token"


def step(kind: str, *args: str, files: str | None = None, force: bool = False) -> TemplateStep:
    """One instruction."""
    return TemplateStep(type=kind, args=list(args), filesHash=files, force=force)


def prepare() -> None:
    """What every build starts from, bootstrapped once for all tests."""
    kept = for_tests().data_dir / "artifacts"
    kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    images = wiring.build_images(kept, TemplateSettings(mirrors="default"))
    found = asyncio.run(images.get(wiring.BASE_IMAGE, None, force=False, log=print))
    links = DATA_DIR / "artifacts" / "layers"
    links.mkdir(parents=True, exist_ok=True, mode=0o700)
    for layer in found.layers:
        if not (links / layer.name).exists():
            (links / layer.name).symlink_to(layer)


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a build."""

    build_id: str
    state: TemplateBuildState
    reason: str
    step: str
    lines: list[str] = field(repr=False)
    levels: list[int] = field(repr=False)

    @property
    def is_good(self) -> bool:
        return self.state == TemplateBuildState.Completed

    @property
    def cached(self) -> list[bool]:
        """Of each step of the recipe."""
        return [line.startswith("CACHED") for line in self.lines if "[builder " in line and "] [std" not in line]


class BuildingNode:
    """The services of one node in this process."""

    def __init__(self, criu: Path | None = None) -> None:
        self._settings = OrchestratorSettings(
            data_dir=DATA_DIR,
            run_dir=DATA_DIR / "run",
            instance=f"bld{SLOT}",
            subnet=f"10.{230 + SLOT}.0.0/16",
            uid_base=3_300_000_000 + SLOT * 40_000_000,
            max_slots=512,
            orchestrator_port=0,
            orchestrator_proxy_port=0,
            node_id="builder",
            sandbox_disk_mib=20_000,
            criu=criu,
        )
        self._services: list[OrchestratorService | TemplateManagerService] = []

    async def start(self) -> None:
        (DATA_DIR / "run").mkdir(parents=True, exist_ok=True)
        self.orchestrator, manager = build_node(self._settings, TemplateManagerSettings(template_manager_port=14009 + SLOT), None)
        assert manager is not None
        self._services = [self.orchestrator, manager]
        for service in self._services:
            await service.start()
        self.driver = self.orchestrator.driver
        self.sandboxes = OrchestratorClient(self.orchestrator.address)
        self.connect()

    def connect(self) -> None:
        """Speak to the build service, which may be another process's."""
        self.builds = TemplateClient(f"127.0.0.1:{14009 + SLOT}")

    async def disconnect(self) -> None:
        await self.builds.close()

    async def stop(self) -> None:
        await self.disconnect()
        await self.sandboxes.close()
        for service in reversed(self._services):
            await service.stop()

    async def upload(self, archive: bytes, scope: str = TEAM) -> str:
        """The hash under which it can be copied."""
        digest = hashlib.sha256(archive).hexdigest()
        answer = await self.builds.init_upload(InitLayerFileUploadRequest(templateID="tpl", hash=digest, cacheScope=scope))
        sent = {name: values[0] for name, values in parse_qs(urlsplit(answer.url).query).items()}

        async def chunks() -> AsyncIterator[LayerFileChunk]:
            yield LayerFileChunk(path=sent["path"], expires=int(sent["expires"]), token=sent["token"], sizeBytes=len(archive))
            for at in range(0, len(archive), 1 << 16):
                yield LayerFileChunk(data=archive[at : at + (1 << 16)])

        await self.builds.upload(chunks())
        return digest

    async def begin(
        self,
        *steps: TemplateStep,
        start: str = "",
        ready: str = "",
        force: bool = False,
        base: str | None = None,
        image: str = wiring.BASE_IMAGE,
        scope: str = TEAM,
        version: str = "v2.1.0",
        disk_mib: int = 2048,
    ) -> str:
        build_id = str(uuid.uuid4())
        config = TemplateConfig(
            templateID="tpl",
            buildID=build_id,
            memoryMB=512,
            vCpuCount=2,
            diskSizeMB=disk_mib,
            startCommand=start,
            readyCommand=ready,
            steps=steps,
            force=force,
            teamID=TEAM,
        )
        if base is not None:
            config.fromTemplate.CopyFrom(FromTemplateConfig(alias="parent", buildID=base))
        else:
            config.fromImage = image
        await self.builds.create(TemplateCreateRequest(template=config, cacheScope=scope, version=version))
        return build_id

    async def finish(self, build_id: str, seconds: float = 60) -> Ended:
        lines: list[str] = []
        levels: list[int] = []
        async with asyncio.timeout(seconds):
            while True:
                answer = await self.builds.status(TemplateStatusRequest(buildID=build_id, templateID="tpl", offset=len(lines)))
                lines += [entry.message for entry in answer.logEntries]
                levels += [entry.level for entry in answer.logEntries]
                if answer.status != TemplateBuildState.Building and not answer.logEntries:
                    return Ended(build_id, answer.status, answer.reason.message, answer.reason.step, lines, levels)
                if not answer.logEntries:
                    await asyncio.sleep(0.02)

    async def lines(self, build_id: str) -> list[str]:
        """The first hundred of its log."""
        answer = await self.builds.status(TemplateStatusRequest(buildID=build_id, templateID="tpl"))
        return [entry.message for entry in answer.logEntries]

    async def build(self, *steps: TemplateStep, seconds: float = 60, **options: object) -> Ended:
        return await self.finish(await self.begin(*steps, **options), seconds)  # type: ignore[arg-type]

    async def cancel(self, build_id: str) -> None:
        await self.builds.delete(TemplateBuildDeleteRequest(buildID=build_id, templateID="tpl"))

    async def run(self, build: Ended | str, command: str, user: str | None = None) -> str:
        """What a command prints in a fresh sandbox of a build, as the sandbox's user unless another is named."""
        build_id = build if isinstance(build, str) else build.build_id
        sandbox_id = f"i{uuid.uuid4().hex[:19]}"
        request = SandboxCreateRequest(
            sandbox=SandboxConfig(
                template_id="tpl",
                build_id=build_id,
                sandbox_id=sandbox_id,
                execution_id=str(uuid.uuid4()),
                vcpu=2,
                ram_mb=512,
                total_disk_size_mb=4096,
                team_id=TEAM,
                envd_access_token=TOKEN,
            )
        )
        request.start_time.FromSeconds(int(time.time()))
        request.end_time.FromSeconds(int(time.time()) + 100)
        await self.sandboxes.create(request)
        try:
            printed = bytearray()
            client = AgentClient(self.driver, sandbox_id, TOKEN)
            await client.run(AgentCommand(command, user="root" if user is None else user), lambda _, data: printed.extend(data))
            return printed.decode()
        finally:
            await self.sandboxes.delete(SandboxDeleteRequest(sandbox_id=sandbox_id))

    async def is_known(self, build_id: str) -> bool:
        try:
            await self.builds.status(TemplateStatusRequest(buildID=build_id, templateID="tpl"))
        except NotFoundError:
            return False
        return True

    def sandbox_ids(self) -> list[str]:
        """Of builds that run, by what is on the node's disk."""
        return sorted(path.name for path in (DATA_DIR / "sandboxes").iterdir() if path.name.startswith("b"))


def archive(entries: Iterable[tuple[str, object]], *, compress: bool = True) -> bytes:
    """A tar of files (bytes), directories (None), links (`-> target`), or whatever a `TarInfo` says."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.uid = info.gid = 4321
            info.mode = 0o644
            if isinstance(content, tarfile.TarInfo):
                info = content
                tar.addfile(info)
            elif content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content.removeprefix("-> ")
                tar.addfile(info)
            elif isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), 1) if compress else buffer.getvalue()


async def _serve() -> None:
    """The same node as a process of its own, for tests that kill it."""
    await BuildingNode().start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
