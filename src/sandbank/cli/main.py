"""The `sandbank` command. Imports of the heavy parts happen inside the commands: `--help` and `status` answer at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sandbank.cli import service as services
from sandbank.cli.accounts_keys import keys, tokens
from sandbank.cli.accounts_teams import app as teams
from sandbank.cli.accounts_users import app as users
from sandbank.cli.deployment import app as deployment
from sandbank.cli.health import health
from sandbank.cli.migrate import app as migrate
from sandbank.cli.secret_keys import app as secret_keys
from sandbank.domain.errors import SandbankError
from sandbank.version import VERSION

app = typer.Typer(
    name="sandbank",
    help="Isolated Linux sandboxes on this machine, for the official E2B clients.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

services.add_to(app)
app.command()(health)
for group in (teams, users, keys, tokens, secret_keys, migrate, deployment):
    app.add_typer(group)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where all is kept [default: /var/lib/sandbank, or SANDBANK_DATA_DIR].")]
RunDir = Annotated[Path | None, typer.Option("--run-dir", help="Sockets and state [default: /run/sandbank, or SANDBANK_RUN_DIR].")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when ready, leave the services running.")] = False,
    bind: Annotated[str | None, typer.Option(help="Address to serve on; beyond loopback, keys are generated [default: 127.0.0.1].")] = None,
    domain: Annotated[
        str | None,
        typer.Option(help="NAME[:PORT] of https://api.NAME and https://<port>-<ID>.NAME [default: sandbank.localhost:3002]."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file for api.NAME and *.NAME, with its chain [default: one from a local CA].")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file with the certificate's key.")] = None,
    data_dir: DataDir = None,
    run_dir: RunDir = None,
) -> None:
    """Start Sandbank, installing and building what is missing, and greet from a sandbox."""
    from sandbank.cli.up import up as run

    given = {"bind": bind, "domain": domain, "certificate": _absolute(certificate), "certificate_key": _absolute(key)}
    run(_settings(**given, data_dir=data_dir, run_dir=run_dir), detach=detach)


@app.command()
def prepare(data_dir: DataDir = None, run_dir: RunDir = None) -> None:
    """Install what is missing and get what the base template is made of, as `up` does before it starts anything."""
    from sandbank.cli.up import prepare_alone

    prepare_alone(_settings(data_dir=data_dir, run_dir=run_dir))


@app.command()
def down(
    keep_sandboxes: Annotated[bool, typer.Option("--keep-sandboxes", help="Stop the services only; the next `up` adopts them.")] = False,
    data_dir: DataDir = None,
    run_dir: RunDir = None,
) -> None:
    """Stop the services and end all sandboxes."""
    from sandbank.cli.down import down as run

    run(_settings(data_dir=data_dir, run_dir=run_dir), keep_sandboxes=keep_sandboxes)


@app.command()
def status(as_json: AsJson = False, data_dir: DataDir = None, run_dir: RunDir = None) -> None:
    """Say whether Sandbank runs; exit code 0 when it does and answers."""
    from sandbank.cli.status import status as run

    if not run(_settings(data_dir=data_dir, run_dir=run_dir), as_json=as_json):
        raise typer.Exit(1)


@app.command()
def doctor(as_json: AsJson = False, data_dir: DataDir = None, run_dir: RunDir = None) -> None:
    """Look at what Sandbank needs of this machine; exit code 1 when something that it cannot do without is missing."""
    from sandbank.cli.doctor import doctor as run

    if not run(_settings(data_dir=data_dir, run_dir=run_dir), as_json=as_json):
        raise typer.Exit(1)


@app.command()
def ca(
    bundle: Annotated[bool, typer.Option("--bundle", help="With everything else that this machine trusts, for SSL_CERT_FILE.")] = False,
    path: Annotated[bool, typer.Option("--path", help="Where the file is, instead of what is in it.")] = False,
    data_dir: DataDir = None,
    run_dir: RunDir = None,
) -> None:
    """Print the certificate of the local CA, for clients to trust."""
    from sandbank.cli.tls import print_ca

    print_ca(_settings(data_dir=data_dir, run_dir=run_dir), bundle=bundle, path=path)


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(VERSION + "\n")


@app.command(hidden=True)
def serve_detached(revision: str, lock: int, pipe: int) -> None:
    """What `up --detach` starts."""
    from sandbank.cli.up import serve_detached as run

    run(revision, lock, pipe)


def main() -> None:
    """Entry point: a domain error is one line and exit code 1, Ctrl-C is exit code 130."""
    from sandbank.cli.console import complain

    # The node forks helpers (nft, the zygote) that exec at once: gRPC's fork handlers would only delay each and say so on stderr.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    try:
        app()
    except SandbankError as error:
        complain(error.message)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()  # a detached service has another working directory


def _settings(**given: object) -> Any:
    from pydantic import ValidationError

    from sandbank.cli.settings import NodeSettings
    from sandbank.domain.errors import InvalidError

    try:
        return NodeSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidError(f"SANDBANK_{'_'.join(map(str, first['loc'])).upper()}: {first['msg']}") from error


if __name__ == "__main__":
    main()
