"""The database that account commands work on, and how they show what they find."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from sandbank.db.database import Database

T = TypeVar("T")

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Directory of the SQLite file [default: /var/lib/sandbank].")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


def with_database(data_dir: Path | None, work: Callable[[Database], Awaitable[T]]) -> T:
    """Do `work` on PostgreSQL where the environment names one, else on the installation's SQLite file, also while services run."""
    from sandbank.api.settings import ApiSettings
    from sandbank.db.database import Database
    from sandbank.db.schema import upgrade
    from sandbank.domain.errors import NotFoundError

    settings = ApiSettings() if data_dir is None else ApiSettings(data_dir=data_dir)
    if settings.postgres_connection_string is None and not (settings.data_dir / "sandbank.db").exists():
        raise NotFoundError(
            f"there is no installation in {settings.data_dir}: start it once with `sandbank up`,"
            " or say where it is with --data-dir or POSTGRES_CONNECTION_STRING"
        )

    async def run() -> T:
        database = Database(settings.database_url)
        try:
            await upgrade(database.engine)
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def show(rows: Sequence[dict[str, Any]], columns: dict[str, str], *, as_json: bool, empty: str) -> None:
    """A table with the given columns (title by field), or all fields as JSON."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if as_json:
        print_json(list(rows))
        return
    # Wide enough where nobody looks: what is piped must not be folded.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 400)
    if not rows:
        console.print(empty)
        return
    table = Table(box=None, pad_edge=False)
    for title in columns.values():
        table.add_column(title, overflow="fold", no_wrap=title == "ID")
    for row in rows:
        # As text: names come from users, and brackets in them are no markup, control characters no commands to the terminal.
        table.add_row(*(Text(_printable(row[name])) for name in columns))
    console.print(table)


def print_json(value: object) -> None:
    """For programs."""
    from sandbank.cli.console import say

    say(json.dumps(value, indent=2, default=_iso))


def _iso(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _printable(value: Any) -> str:
    text = "" if value is None else value.isoformat(" ", "seconds") if isinstance(value, datetime) else str(value)
    return "".join(character if character.isprintable() or character == "\n" else "\ufffd" for character in text)
