"""`sandbank user`: people, and who they are for an identity provider."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sandbank.cli.accounts_database import AsJson, DataDir, print_json, show, with_database

app = typer.Typer(name="user", help="Users: members of teams.", no_args_is_help=True)


@app.command()
def create(
    issuer: Annotated[str | None, typer.Option(help="The identity provider, as its tokens' `iss` says.")] = None,
    subject: Annotated[str | None, typer.Option(help="The user there, as the tokens' `sub` says.")] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Create a user; with an identity they can sign in by the provider's tokens, else by access tokens alone."""
    from sandbank.api.adapters.account_users import AccountUsers
    from sandbank.api.core.ports import Identity
    from sandbank.cli.console import say

    if bool(issuer) != bool(subject):
        raise typer.BadParameter("an identity is an issuer and a subject: give both or none")
    identity = Identity(issuer, subject) if issuer and subject else None
    user = with_database(data_dir, lambda database: AccountUsers(database.sessions).create(identity))
    if as_json:
        print_json(asdict(user))
    else:
        say(user.user_id)


@app.command("list")
def list_users(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List all users."""
    from sandbank.api.adapters.account_users import AccountUsers

    users = with_database(data_dir, lambda database: AccountUsers(database.sessions).list_all())
    if as_json:
        print_json([asdict(user) for user in users])
        return
    rows = [
        {
            "id": user.user_id,
            "identities": "\n".join(f"{identity.subject} at {identity.issuer}" for identity in user.identities),
            "teams": ", ".join(user.teams),
        }
        for user in users
    ]
    show(rows, {"id": "ID", "teams": "Teams", "identities": "Identities"}, as_json=False, empty="No users.")
