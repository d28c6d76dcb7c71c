"""A Redis server of the tests' own, on a Unix socket that nobody else can reach."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[Path]:
    """The server's socket; it keeps nothing on disk."""
    program = shutil.which("redis-server")
    assert program, "these tests need `redis-server`: apt-get install redis-server"
    directory = Path(tempfile.mkdtemp(prefix="sandbank-redis-", dir="/tmp"))
    path = directory / "socket"
    command = [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(directory), "--daemonize", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 10
        while not path.exists():
            assert server.poll() is None, "redis-server ended"
            assert time.monotonic() < until, "redis-server did not start"
            time.sleep(0.01)
        yield path
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(directory)


@asynccontextmanager
async def empty_redis(path: Path) -> AsyncIterator[Redis]:
    """A client of the server, which has nothing in it."""
    client: Redis = Redis(unix_socket_path=str(path))
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def redis(redis_socket: Path) -> AsyncIterator[Redis]:
    """A client of an empty server."""
    async with empty_redis(redis_socket) as client:
        yield client
