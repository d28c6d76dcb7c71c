"""The Docker reverse proxy in front of its own image store and in front of Debian's docker-registry."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sandbank.db.database import Database, sqlite_url
from tests.integration.docker_reverse_proxy.oci_layout import Layout, tar_of
from tests.integration.docker_reverse_proxy.platform import Platform, add_rows, platform
from tests.integration.docker_reverse_proxy.programs import Docker, docker, docker_registry


@pytest.fixture(scope="session")
def registry_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as url:
        yield url


@pytest.fixture(scope="session")
def filled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database to copy: making one takes longer than most tests here."""
    file = tmp_path_factory.mktemp("rows") / "sandbank.db"

    async def fill() -> None:
        database = Database(sqlite_url(file))
        await add_rows(database)
        await database.close()

    asyncio.run(fill())
    return file


@pytest.fixture
async def rows(tmp_path: Path, filled_file: Path) -> AsyncIterator[Database]:
    """A database with users and templates."""
    shutil.copy(filled_file, tmp_path / "sandbank.db")
    database = Database(sqlite_url(tmp_path / "sandbank.db"))
    yield database
    await database.close()


@pytest.fixture
async def own_store(tmp_path: Path, rows: Database) -> AsyncIterator[Platform]:
    """Images are kept by the service itself."""
    async with platform(tmp_path, rows) as found:
        yield found


@pytest.fixture(params=["own store", "docker-registry"])
async def served(request: pytest.FixtureRequest, tmp_path: Path, rows: Database) -> AsyncIterator[Platform]:
    """Images are kept by the service itself, or by a real registry behind it."""
    url = request.getfixturevalue("registry_url") if request.param == "docker-registry" else None
    async with platform(tmp_path, rows, url) as found:
        yield found


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """`small`: an image of two layers; `many`: one for two platforms."""
    made = Layout(tmp_path_factory.mktemp("layout") / "oci")
    layers = [tar_of({"etc/hello": b"hello\n"}), tar_of({"etc/more": bytes(3 * 2**20)})]
    made.add_image(layers, tag="small")
    made.add_index([made.add_image(layers), made.add_image(layers[:1], architecture="arm64")], tag="many")
    return made


@pytest.fixture(scope="session")
def private_docker() -> Iterator[Docker]:
    """One daemon for all tests; with one image, `test:local`."""
    directory = Path(tempfile.mkdtemp(prefix="sandbank-docker-", dir="/tmp"))
    try:
        with docker(directory) as found:
            done = found("import", "-", "test:local", stdin=tar_of({"bin/hello": b"hello\n", "etc/x": bytes(2**20)}))
            assert done.returncode == 0, done.stdout
            yield found
    finally:
        shutil.rmtree(directory)
