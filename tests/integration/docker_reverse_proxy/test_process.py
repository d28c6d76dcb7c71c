"""The service as a process of its own: `sandbank docker-reverse-proxy`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx

from sandbank.db.database import Database
from tests.integration.docker_reverse_proxy.platform import TEMPLATE, TOKEN, basic
from tests.integration.docker_reverse_proxy.programs import accepts, free_port, running
from tests.product.instance import SERVICE_VARIABLES

BLOBS = f"/v2/e2b/custom-envs/{TEMPLATE}/blobs"
PIECE = bytes(2**20)
LAYER_MIB = 256
GROWTH_MIB = 48  # pages of code that runs for the first time, and buffers; a fraction of the layer


@contextlib.contextmanager
def service(data_dir: Path, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """From when it listens until it has ended."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SERVICE_VARIABLES)} | {
        "SANDBANK_DATA_DIR": str(data_dir),
        "SANDBANK_DOCKER_REVERSE_PROXY_PORT": str(port),
        "SANDBANK_DOCKER_STORE_PORT": str(free_port()),
        "SANDBANK_DOCKER_STORE_MIN_FREE_MIB": "0",
        "SANDBANK_DOCKER_REVERSE_PROXY_SECRET": "0123456789abcdef",
    }
    command = ["env", "-i", *(f"{name}={value}" for name, value in environment.items())]
    command += [str(Path(sys.executable).with_name("sandbank")), "docker-reverse-proxy"]
    with running(command, log, lambda: accepts(port)) as process:
        yield process


@contextlib.asynccontextmanager
async def client(port: int) -> AsyncIterator[httpx.AsyncClient]:
    """With a token for TEMPLATE."""
    parameters = {"scope": f"repository:e2b/custom-envs/{TEMPLATE}:push,pull"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as found:
        answer = await found.get("/v2/token", params=parameters, headers={"Authorization": basic(f"_e2b_access_token:{TOKEN}")})
        found.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        yield found


def resident_mib(pid: int) -> float:
    """Its memory at this moment."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


async def test_large_layers_pass_in_both_directions_without_staying_in_memory(tmp_path: Path, rows: Database) -> None:
    """Streams with backpressure: neither a whole layer nor what a slow reader leaves waits in memory."""
    port = free_port()
    digest = hashlib.sha256()
    highest = 0.0
    with service(tmp_path, port, tmp_path / "log") as process:
        async with client(port) as docker:
            before = resident_mib(process.pid)

            async def layer() -> AsyncIterator[bytes]:
                nonlocal highest
                for _ in range(LAYER_MIB):
                    digest.update(PIECE)
                    yield PIECE
                    highest = max(highest, resident_mib(process.pid))

            location = (await docker.post(f"{BLOBS}/uploads/")).headers["location"]
            assert (await docker.patch(location, content=layer())).status_code == 202
            name = f"sha256:{digest.hexdigest()}"
            assert (await docker.put(location, params={"digest": name})).status_code == 201
            async with docker.stream("GET", f"{BLOBS}/{name}") as answer:
                await asyncio.sleep(0.5)  # a reader that reads nothing at first
                highest = max(highest, resident_mib(process.pid))
                size = 0
                async for piece in answer.aiter_raw():
                    size += len(piece)
                    highest = max(highest, resident_mib(process.pid))
    assert size == LAYER_MIB * 2**20
    assert highest - before < GROWTH_MIB


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, rows: Database) -> None:
    """A blob that was answered with 201, and the bytes of an upload that were answered with 202; the token is good for the next process."""
    port = free_port()
    content = os.urandom(2**20)
    name = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with service(tmp_path, port, tmp_path / "log") as process:
        async with client(port) as docker:
            assert (await docker.post(f"{BLOBS}/uploads/", params={"digest": name}, content=content)).status_code == 201
            location = (await docker.post(f"{BLOBS}/uploads/")).headers["location"]
            assert (await docker.patch(location, content=b"half")).status_code == 202
            token = docker.headers["Authorization"]
        process.kill()
        process.wait()
    with service(tmp_path, port, tmp_path / "log"):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": token}, trust_env=False) as docker:
            assert (await docker.get(f"{BLOBS}/{name}")).content == content
            assert (await docker.get(location)).headers["range"] == "0-3"
            whole = f"sha256:{hashlib.sha256(b'halfhalf').hexdigest()}"
            assert (await docker.put(location, params={"digest": whole}, content=b"half")).status_code == 201


async def test_a_push_under_way_ends_in_order_when_the_service_is_told_to_stop(tmp_path: Path, rows: Database) -> None:
    """SIGTERM: nothing new is accepted, what is in flight goes on."""
    port = free_port()
    with service(tmp_path, port, tmp_path / "log") as process:
        async with client(port) as docker:
            location = (await docker.post(f"{BLOBS}/uploads/")).headers["location"]

            async def slowly() -> AsyncIterator[bytes]:
                yield PIECE
                process.send_signal(signal.SIGTERM)
                while accepts(port):
                    await asyncio.sleep(0.02)
                yield PIECE

            assert (await docker.patch(location, content=slowly())).status_code == 202
        assert await asyncio.to_thread(process.wait, 10) == 0
