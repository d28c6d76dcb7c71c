"""`sandbank migrate postgres`: accounts and templates, in PostgreSQL or in the installation's SQLite file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from sandbank.db.database import Database

app = typer.Typer(
    name="postgres",
    help="Accounts and templates: PostgreSQL where POSTGRES_CONNECTION_STRING names one, else the SQLite file.",
    no_args_is_help=True,
)

T = TypeVar("T")

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Directory of the SQLite file [default: /var/lib/sandbank].")]


@app.command()
def up(data_dir: DataDir = None) -> None:
    """Apply what is pending."""
    from sandbank.cli.console import say
    from sandbank.db.schema import read_schema, upgrade

    async def work(database: Database) -> list[str]:
        before = await read_schema(database.engine)
        await upgrade(database.engine)
        return [step.revision for step in before.pending]

    applied = _with_database(data_dir, work)
    say(f"Applied {', '.join(applied)}." if applied else "Nothing was pending.")


@app.command()
def down(
    to: Annotated[str | None, typer.Option(help="Last revision to keep, or `base` [default: all but the newest].")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Undo the newest change, with all data that only it has a place for. Stop every service before."""
    from sandbank.cli.console import say
    from sandbank.db.schema import downgrade, read_schema

    undone = _with_database(data_dir, lambda database: read_schema(database.engine)).undone_by(to)
    if not undone:
        say("Nothing to undo.")
        return
    if not yes:
        typer.confirm(f"Undo {', '.join(step.revision for step in undone)} and lose the data in what they made?", abort=True, err=True)

    last_kept = undone[0].follows
    _with_database(data_dir, lambda database: downgrade(database.engine, last_kept))
    say(f"Undid {', '.join(step.revision for step in undone)}.")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False, data_dir: DataDir = None) -> None:
    """Say what is applied and what is pending; exit code 1 if the database is newer than this version."""
    from sandbank.cli.console import say
    from sandbank.db.schema import read_schema

    found = _with_database(data_dir, lambda database: read_schema(database.engine))
    if as_json:
        say(json.dumps(asdict(found), indent=2))
    else:
        for step in found.applied:
            say(f"applied  {step.revision}  {step.summary}")
        for step in found.pending:
            say(f"pending  {step.revision}  {step.summary}")
        for revision in found.unknown:
            say(f"unknown  {revision}  made by a newer version of Sandbank; this one refuses to work with it")
    if found.unknown:
        raise typer.Exit(1)


def _with_database(data_dir: Path | None, work: Callable[[Database], Awaitable[T]]) -> T:
    from sandbank.api.settings import ApiSettings
    from sandbank.db.database import Database

    async def run() -> T:
        settings = ApiSettings() if data_dir is None else ApiSettings(data_dir=data_dir)
        database = Database(settings.database_url)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())
