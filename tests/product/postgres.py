"""A PostgreSQL server of the tests' own, which nobody else can reach, and empty databases of either kind."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from sandbank.db.database import Database, sqlite_url

_UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root


def _program(name: str) -> str:
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = str(installed[0]) if installed else shutil.which(name)
    assert found, f"these tests need PostgreSQL's `{name}`: apt-get install postgresql"
    return found


class PostgresServer:
    """A server on a Unix socket in a directory of its own; it listens on no port."""

    def __init__(self) -> None:
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        # Not pytest's own directory, which others may not enter.
        self.directory = Path(tempfile.mkdtemp(prefix="sandbank-pg-", dir="/tmp"))
        self._data = str(self.directory / "data")
        if self._user is not None:
            os.chown(self.directory, pwd.getpwnam(self._user).pw_uid, -1)
        self._run("initdb", "-D", self._data, "-U", "sandbank", "-A", "trust", "-N", "-E", "UTF8")

    def start(self) -> None:
        """Return when it takes connections."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self.directory} -c fsync=off -c shared_buffers=16MB"
        # pg_ctl waits for whoever holds its output: a log file keeps the server from being that.
        self._run("pg_ctl", "-D", self._data, "-w", "-l", str(self.directory / "log"), "-o", options, "start")

    def stop(self) -> None:
        """End it as a crash would; the data stay."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        """Delete the data of a stopped server."""
        shutil.rmtree(self.directory)

    def url(self, database: str) -> str:
        """As an operator would write it."""
        return f"postgresql://sandbank@/{database}?host={self.directory}"

    async def create_database(self) -> str:
        """The URL of a new empty database."""
        name = f"test_{secrets.token_hex(6)}"
        admin = create_async_engine(f"postgresql+asyncpg://sandbank@/postgres?host={self.directory}", isolation_level="AUTOCOMMIT")
        async with admin.connect() as connection:
            await connection.execute(text(f"CREATE DATABASE {name}"))
        await admin.dispose()
        return self.url(name)

    def _run(self, program: str, *arguments: str) -> None:
        command = [_program(program), *arguments]
        outcome = subprocess.run(command, user=self._user, capture_output=True, text=True, cwd="/", check=False)
        assert outcome.returncode == 0, f"{program}: {outcome.stdout}{outcome.stderr}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole session; a test that stops it starts it again."""
    server = PostgresServer()
    try:
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of either kind."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "test.db")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return await server.create_database()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty database of either kind."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def postgres(postgres_server: PostgresServer) -> AsyncIterator[Database]:
    """An empty PostgreSQL database, for what only it can do."""
    database = Database(await postgres_server.create_database())
    yield database
    await database.close()
