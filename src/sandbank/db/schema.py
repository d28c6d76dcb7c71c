"""Bringing the schema to this version, and refusing one that is ahead of it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from sandbank.domain.errors import ConflictError, UnavailableError

# Any number will do, as long as every process that migrates takes the same.
_ADVISORY_LOCK = 7_263_542_616


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings without its ini file: scripts from the package, work on `connection`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Several replicas may start at once; the lock goes with the transaction.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    config = alembic_config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    for revision in MigrationContext.configure(connection).get_current_heads():
        if revision not in known:
            raise ConflictError(
                f"the database has schema {revision}, which this version of Sandbank does not know:"
                " it was used by a newer one, so start that again or restore a backup"
            )
    command.upgrade(config, "head")


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the schema up to date, in one transaction; `ConflictError` if a newer version was here, `UnavailableError` if none answers."""
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    except (OSError, DBAPIError) as error:
        raise UnavailableError(f"the database cannot be used: {error}") from error
