"""`sandbank migrate clickhouse`: metrics, events and logs, on a server or in the installation's embedded engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from sandbank.clickhouse.schema import Schema

app = typer.Typer(
    name="clickhouse",
    help="Metrics, events and logs: what CLICKHOUSE_CONNECTION_STRING names, else the embedded engine, whose service has to be stopped.",
    no_args_is_help=True,
)

T = TypeVar("T")

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Directory of the embedded engine's installation [default: /var/lib/sandbank].")
]


@app.command()
def up(data_dir: DataDir = None) -> None:
    """Apply what is pending."""
    from sandbank.cli.console import say

    taken = _with_schema(data_dir, lambda schema: schema.up())
    say(f"Applied {', '.join(f'{number:04}' for number in taken)}." if taken else "Nothing was pending.")


@app.command()
def down(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Undo the newest change, with all data in its tables. Stop every service before."""
    from sandbank.cli.console import say

    applied = [step for step in _with_schema(data_dir, lambda schema: schema.status()) if step.applied]
    if not applied:
        say("Nothing to undo.")
        return
    if not yes:
        typer.confirm(f"Undo {applied[-1].number:04} {applied[-1].name} and lose the data in what it made?", abort=True, err=True)
    undone = _with_schema(data_dir, lambda schema: schema.down())
    say(f"Undid {undone:04}.")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False, data_dir: DataDir = None) -> None:
    """Say what is applied and what is pending; it fails if the database is newer than this version."""
    from sandbank.cli.console import say

    steps = _with_schema(data_dir, lambda schema: schema.status())
    if as_json:
        say(json.dumps([asdict(step) for step in steps], indent=2))
        return
    for step in steps:
        say(f"{'applied' if step.applied else 'pending'}  {step.number:04}  {step.name}")


def _with_schema(data_dir: Path | None, work: Callable[[Schema], Awaitable[T]]) -> T:
    from sandbank.cli.settings import NodeSettings
    from sandbank.clickhouse.schema import Schema
    from sandbank.clickhouse.settings import ClickHouseSettings
    from sandbank.domain.errors import InvalidError

    async def run() -> T:
        settings = ClickHouseSettings()
        directory = NodeSettings().data_dir if data_dir is None else data_dir
        client = settings.connect(f"chdb://{directory.absolute()}/clickhouse")
        if client is None:
            raise InvalidError("CLICKHOUSE_CONNECTION_STRING is set to nothing: analytics are off")
        try:
            return await work(Schema(client, settings.clickhouse_cluster))
        finally:
            await client.close()

    return asyncio.run(run())
