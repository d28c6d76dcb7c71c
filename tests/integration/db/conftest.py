"""Fresh databases: SQLite files, and a PostgreSQL of our own that nobody else can reach."""

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
    found = shutil.which(name)
    if found is not None:
        return found
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    assert installed, f"these tests need PostgreSQL's `{name}`: apt-get install postgresql"
    return str(installed[0])


def _run(*command: str, user: str | None) -> None:
    outcome = subprocess.run(command, user=user, capture_output=True, text=True, cwd="/", check=False)
    assert outcome.returncode == 0, f"{command[0]}: {outcome.stdout}{outcome.stderr}"


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[Path]:
    """The directory of a running server's socket; it listens on no port."""
    user = _UNPRIVILEGED if os.geteuid() == 0 else None
    # Not pytest's own directory, which others may not enter.
    directory = Path(tempfile.mkdtemp(prefix="sandbank-pg-", dir="/tmp"))
    try:
        if user is not None:
            os.chown(directory, pwd.getpwnam(user).pw_uid, -1)
        data = str(directory / "data")
        # pg_ctl waits for whoever holds its output: a log file keeps the server from being that.
        log = str(directory / "log")
        _run(_program("initdb"), "-D", data, "-U", "sandbank", "-A", "trust", "-N", "-E", "UTF8", user=user)
        options = f"-c listen_addresses='' -c unix_socket_directories={directory} -c fsync=off -c shared_buffers=16MB"
        _run(_program("pg_ctl"), "-D", data, "-w", "-l", log, "-o", options, "start", user=user)
        try:
            yield directory
        finally:
            _run(_program("pg_ctl"), "-D", data, "-w", "-m", "immediate", "stop", user=user)
    finally:
        shutil.rmtree(directory)


async def _create_postgres(socket: Path) -> str:
    name = f"test_{secrets.token_hex(6)}"
    admin = create_async_engine(f"postgresql+asyncpg://sandbank@/postgres?host={socket}", isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await admin.dispose()
    return f"postgresql+asyncpg://sandbank@/{name}?host={socket}"


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of either kind."""
    if request.param == "sqlite":
        database = Database(sqlite_url(tmp_path / "test.db"))
    else:
        database = Database(await _create_postgres(request.getfixturevalue("postgres_socket")))
    yield database
    await database.close()


@pytest.fixture
async def postgres(postgres_socket: Path) -> AsyncIterator[Database]:
    """An empty PostgreSQL database, for what only it can do."""
    database = Database(await _create_postgres(postgres_socket))
    yield database
    await database.close()
