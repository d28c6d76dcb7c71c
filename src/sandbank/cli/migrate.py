"""`sandbank migrate`: what a database's schema is, and changing it by hand. Services bring theirs up to date when they start."""

from __future__ import annotations

import typer

from sandbank.cli.migrate_clickhouse import app as clickhouse
from sandbank.cli.migrate_postgres import app as postgres

app = typer.Typer(name="migrate", help="Look at the schema of a database, and move it up or down.", no_args_is_help=True)
app.add_typer(postgres)
app.add_typer(clickhouse)
