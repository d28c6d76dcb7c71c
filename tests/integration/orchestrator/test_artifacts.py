"""Two whole nodes that share object storage: what one has made, the other goes on from (issue: artefacts)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from sandbank.contracts.orchestrator import SandboxPauseRequest
from sandbank.orchestrator.settings import OrchestratorSettings
from tests.integration.orchestrator.test_node import Node


async def _stored(objects: Path, build_id: str) -> None:
    async with asyncio.timeout(60):
        while not (objects / "builds" / f"{build_id}.json").exists():
            await asyncio.sleep(0.05)


async def test_a_template_and_a_paused_sandbox_are_wanted_on_a_node_that_has_neither(
    settings: OrchestratorSettings, tmp_path: Path
) -> None:
    objects = tmp_path / "objects"
    shared = {"artifacts_url": f"file://{objects}"}
    other_dir = Path("/tmp/od-data")
    shutil.rmtree(other_dir, ignore_errors=True)
    (other_dir / "run").mkdir(parents=True)
    elsewhere = {"data_dir": other_dir, "run_dir": other_dir / "run", "instance": "od", "subnet": "10.217.0.0/16", "uid_base": 450_000_000}
    shutil.rmtree(settings.data_dir / "artifacts" / "stored", ignore_errors=True)  # of another run's storage
    first = Node(settings.model_copy(update=shared))
    second = Node(settings.model_copy(update=shared | elsewhere | {"node_id": "other"}))
    await first.start()
    await second.start()
    try:
        await _stored(objects, "build")
        made = await second.create()  # of the other's template
        assert await second.health(made) == 204
        await second.delete(made)
        request = await first.create()
        sandbox_id = request.sandbox.sandbox_id
        await first.client.pause(SandboxPauseRequest(sandbox_id=sandbox_id, template_id="env", build_id="saved"))
        await _stored(objects, "saved")
        assert "saved" in await first.client.list_snapshots()
        assert await second.client.list_snapshots() == {"build"}, "the template, which it has got, and nothing else"
        assert await second.client.list_snapshots(shared=True) == {"saved"}
        await first.stop()
        request.sandbox.snapshot, request.sandbox.build_id, request.sandbox.execution_id = True, "saved", "second"
        await second.client.create(request)
        assert await second.health(request) == 204
        await second.delete(request)
        await second.client.delete_snapshot("saved")
        async with asyncio.timeout(10):
            while [path for path in objects.rglob("saved*") if path.is_file()] or list(objects.glob("snapshots/saved/*")):
                await asyncio.sleep(0.05)
    finally:
        await second.stop()
        first = Node(settings)
        await first.start()
        await first.client.delete_snapshot("saved")
        await first.stop()
        shutil.rmtree(other_dir, ignore_errors=True)
