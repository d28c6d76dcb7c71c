"""`sandbank deployment`: what a first start of services that run apart needs, once for all of them."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sandbank.db.database import Database

app = typer.Typer(name="deployment", help="First start of services that run apart.", no_args_is_help=True)

Directory = Annotated[Path, typer.Argument(help="Where it is kept: a directory that only the services can read.")]
_ACCOUNT_FILE = "account.json"

_FOR_NODES = ("REDIS_URL", "CLICKHOUSE_CONNECTION_STRING", "LOKI_URL", "OTEL_COLLECTOR_GRPC_ENDPOINT")
"""All that nodes are given: who breaks out of a sandbox reads what its node can read."""


def _token() -> str:
    return secrets.token_urlsafe(32)


def _secret_key() -> str:
    from sandbank.api.adapters.secret_keys import new_key

    return new_key()


_GENERATED: Mapping[str, Callable[[], str]] = {
    "POSTGRES_PASSWORD": _token,
    "CLICKHOUSE_PASSWORD": _token,
    "REDIS_PASSWORD": _token,
    "ADMIN_TOKEN": _token,
    "EDGE_SECRET": _token,
    "SANDBOX_ACCESS_TOKEN_HASH_SEED": _token,
    "SANDBANK_DOCKER_REVERSE_PROXY_SECRET": _token,
    "SANDBANK_SECRETS_KEY": _secret_key,
}

# Which setting follows from what else; `{}` is a generated password. The last is the part of the deployment that it needs.
_DERIVED = (
    ("POSTGRES_CONNECTION_STRING", "postgresql://sandbank:{}@postgres:5432/sandbank", "POSTGRES_PASSWORD", ""),
    ("REDIS_URL", "redis://:{}@redis:6379/0", "REDIS_PASSWORD", ""),
    ("CLICKHOUSE_CONNECTION_STRING", "clickhouse://sandbank:{}@clickhouse:9000/sandbank", "CLICKHOUSE_PASSWORD", "analytics"),
    ("LOKI_URL", "http://loki:3100", "", "logs"),
    ("OTEL_COLLECTOR_GRPC_ENDPOINT", "otel-collector:4317", "", "telemetry"),
)


@app.command("settings")
def make_settings(
    directory: Directory,
    parts: Annotated[str, typer.Option(help="Optional parts that there are: analytics, logs, telemetry, or full; by a comma.")] = "full",
    nodes: Annotated[Path | None, typer.Option(help="Another directory, for the few of them that nodes need.")] = None,
) -> None:
    """Write each secret that the environment leaves empty to a file of its name, once, and the addresses that follow from them."""
    from sandbank.cli.console import say

    generated = write_settings(directory, os.environ, {part.strip() for part in parts.split(",")})
    if nodes is not None:
        copy_for_nodes(directory, nodes)
    say(f"generated {', '.join(sorted(generated))}" if generated else "nothing had to be generated")


def write_settings(directory: Path, environment: Mapping[str, str], parts: set[str]) -> list[str]:
    """The names of what was generated now. What the environment says wins over what was generated before."""
    generated = []
    for name, make in _GENERATED.items():
        if environment.get(name):
            _put(directory / name, environment[name])
        elif not (directory / name).is_file():
            _put(directory / name, make())
            generated.append(name)
    for name, text, password, part in _DERIVED:
        value = environment.get(name) or text.format((directory / password).read_text() if password else "")
        if not part or part in parts or "full" in parts or environment.get(name):
            _put(directory / name, value)
        else:
            (directory / name).unlink(missing_ok=True)
    return generated


def copy_for_nodes(directory: Path, nodes: Path) -> None:
    """What nodes need of `directory`, and nothing else, in theirs."""
    for name in _FOR_NODES:
        if (directory / name).is_file():
            _put(nodes / name, (directory / name).read_text())
        else:
            (nodes / name).unlink(missing_ok=True)


def _put(file: Path, value: str) -> None:
    from sandbank.artifacts.atomic import write_atomically

    if not file.is_file() or file.read_text() != value:
        write_atomically(file, value.encode(), 0o444)  # the directory is what is closed


@app.command()
def account(directory: Directory) -> None:
    """Make the first team with an API key and an access token, once, and print them: every time."""
    from sandbank.cli.accounts_database import with_database
    from sandbank.cli.console import say

    file = directory / _ACCOUNT_FILE
    if not file.is_file():
        with_database(None, lambda database: _make_account(database, file))
    made = json.loads(file.read_text())
    say(f"Team {made['team_id']}\nexport E2B_API_KEY={made['api_key']}\nexport E2B_ACCESS_TOKEN={made['access_token']}")


async def _make_account(database: Database, file: Path) -> None:
    from sandbank.artifacts.atomic import write_atomically
    from sandbank.db.seed import seed_generated

    made = await seed_generated(database.sessions)
    fields = {"team_id": made.team_id, "api_key": made.api_key, "access_token": made.access_token}
    write_atomically(file, json.dumps(fields).encode(), 0o400)
