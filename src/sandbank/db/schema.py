"""Bringing the schema to this version, and refusing one that is ahead of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from sandbank.db.failures import UNUSABLE
from sandbank.domain.errors import ConflictError, InvalidError, UnavailableError

# Any number will do, as long as every process that migrates takes the same.
_ADVISORY_LOCK = 7_263_542_616

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """One migration; `follows` is the one before it, `base` if there is none."""

    revision: str
    summary: str
    follows: str


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """What a database has and lacks, oldest first; `unknown` are revisions that only a newer version has."""

    applied: tuple[Step, ...]
    pending: tuple[Step, ...]
    unknown: tuple[str, ...]

    def undone_by(self, target: str | None) -> tuple[Step, ...]:
        """What going down to `target` undoes, oldest first; without one, the newest. `InvalidError` if it is not applied."""
        if self.unknown:
            raise _newer(self.unknown[0])
        if target is None:
            return self.applied[-1:]
        revisions = ["base", *(step.revision for step in self.applied)]
        if target not in revisions:
            raise InvalidError(f"revision {target} is not applied: it is one of {', '.join(revisions)}")
        return self.applied[revisions.index(target) :]


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings without its ini file: scripts from the package, work on `connection`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _newer(revision: str) -> ConflictError:
    return ConflictError(
        f"the database has schema {revision}, which this version of Sandbank does not know:"
        " it was used by a newer one, so start that again or restore a backup"
    )


def _read(connection: Connection) -> SchemaStatus:
    scripts = ScriptDirectory.from_config(alembic_config(connection))
    steps = [
        Step(script.revision, (script.doc or "").partition("\n")[0], str(script.down_revision or "base"))
        for script in reversed(list(scripts.walk_revisions()))
    ]
    known = {step.revision for step in steps}
    heads = MigrationContext.configure(connection).get_current_heads()
    unknown = tuple(head for head in heads if head not in known)
    applied = {
        script.revision for head in heads if head in known for script in scripts.iterate_revisions(head, "base") if script is not None
    }
    return SchemaStatus(
        applied=tuple(step for step in steps if step.revision in applied),
        # A newer version's database has all of ours.
        pending=() if unknown else tuple(step for step in steps if step.revision not in applied),
        unknown=unknown,
    )


def _upgrade(connection: Connection) -> None:
    status = _read(connection)
    if status.unknown:
        raise _newer(status.unknown[0])
    if status.pending:
        command.upgrade(alembic_config(connection), "head")


@asynccontextmanager
async def _transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection that may take its time: without the limits that hold for requests. Several replicas take turns."""
    postgresql = engine.dialect.name == "postgresql"
    unlimited = create_async_engine(engine.url, poolclass=NullPool) if postgresql else engine
    try:
        with _translated():
            async with unlimited.begin() as connection:
                if postgresql:
                    # The lock goes with the transaction.
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
                else:
                    # Python's driver would begin no transaction for DDL: a crash in the middle must not leave half a schema.
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
    finally:
        if unlimited is not engine:
            await unlimited.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except UNUSABLE as error:
        raise UnavailableError(f"the database cannot be used: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).partition("\n")[0] or type(cause).__name__


async def _run(engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
    async with _transaction(engine) as connection:
        return await connection.run_sync(work)


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the schema up to date, in one transaction; `ConflictError` if a newer version was here, `UnavailableError` if none answers."""
    status = await read_schema(engine)
    if status.pending or status.unknown:
        await _run(engine, _upgrade)


async def downgrade(engine: AsyncEngine, target: str) -> None:
    """Undo everything after the revision `target`, or everything with `base`, in one transaction. Errors as of `upgrade`."""

    def work(connection: Connection) -> None:
        if _read(connection).undone_by(target):
            command.downgrade(alembic_config(connection), target)

    await _run(engine, work)


async def read_schema(engine: AsyncEngine) -> SchemaStatus:
    """What is applied and what is pending. Errors as of `upgrade`, but a newer version's database is no error."""
    with _translated():
        async with engine.connect() as connection:
            return await connection.run_sync(_read)
