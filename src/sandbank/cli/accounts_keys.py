"""`sandbank key` and `sandbank token`: what clients present. Each is shown once, when it is made; only its hash is kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sandbank.cli.accounts_database import AsJson, DataDir, print_json, show, with_database

if TYPE_CHECKING:
    from sandbank.db.database import Database
    from sandbank.domain.credentials import Mask

keys = typer.Typer(name="key", help="API keys: they stand for a team.", no_args_is_help=True)
tokens = typer.Typer(name="token", help="Access tokens: they stand for a user.", no_args_is_help=True)

TeamArgument = Annotated[str, typer.Argument(metavar="TEAM", help="The team's slug or ID.")]
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="The user's ID.")]
NameOption = Annotated[str, typer.Option(help="What it is for.")]


@keys.command("create")
def create_key(team: TeamArgument, name: NameOption = "made by an operator", as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Create an API key and print it, this once. It works at once."""
    from sandbank.api.adapters.account_credentials import AccountCredentials
    from sandbank.api.adapters.account_teams import AccountTeams
    from sandbank.api.core.access_keys import require_name
    from sandbank.domain.credentials import new_api_key

    raw, checked = new_api_key(), require_name(name)

    async def work(database: Database) -> dict[str, Any]:
        found = await AccountTeams(database.sessions).get(team)
        return asdict(await AccountCredentials(database.sessions, _nothing_cached).add_key(found.team_id, None, checked, raw))

    _tell(with_database(data_dir, work), "key", raw, as_json=as_json)


@keys.command("list")
def list_keys(team: TeamArgument, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List a team's API keys, masked."""
    from sandbank.api.adapters.account_credentials import AccountCredentials
    from sandbank.api.adapters.account_teams import AccountTeams

    async def work(database: Database) -> list[dict[str, Any]]:
        found = await AccountTeams(database.sessions).get(team)
        listed = await AccountCredentials(database.sessions, _nothing_cached).list_keys(found.team_id)
        return [asdict(key) | {"mask": _masked(key.mask)} for key in listed]

    columns = {"key_id": "ID", "mask": "Key", "name": "Name", "created_at": "Created", "last_used": "Last used"}
    show(with_database(data_dir, work), columns, as_json=as_json, empty="No keys.")


@keys.command("delete")
def delete_key(
    team: TeamArgument, key: Annotated[str, typer.Argument(metavar="KEY", help="The key's ID.")], data_dir: DataDir = None
) -> None:
    """Delete an API key. Running services refuse it within a second."""
    from sandbank.api.adapters.account_credentials import AccountCredentials
    from sandbank.api.adapters.account_teams import AccountTeams
    from sandbank.api.core.access_keys import require_id
    from sandbank.domain.errors import NotFoundError

    key_id = require_id(key)

    async def work(database: Database) -> bool:
        found = await AccountTeams(database.sessions).get(team)
        return await AccountCredentials(database.sessions, _nothing_cached).delete_key(found.team_id, key_id)

    if not with_database(data_dir, work):
        raise NotFoundError(f"team {team!r} has no key {key}: `sandbank key list {team}` shows its keys")


@tokens.command("create")
def create_token(user: UserArgument, name: NameOption = "made by an operator", as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Create an access token and print it, this once. It works at once."""
    from sandbank.api.adapters.account_credentials import AccountCredentials
    from sandbank.api.adapters.account_users import AccountUsers
    from sandbank.api.core.access_keys import require_name
    from sandbank.domain.credentials import new_access_token

    raw, checked = new_access_token(), require_name(name)

    async def work(database: Database) -> dict[str, Any]:
        user_id = await AccountUsers(database.sessions).get_id(user)
        return asdict(await AccountCredentials(database.sessions, _nothing_cached).add_token(user_id, checked, raw))

    _tell(with_database(data_dir, work), "token", raw, as_json=as_json)


@tokens.command("list")
def list_tokens(user: UserArgument, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List a user's access tokens, masked."""
    from sandbank.api.adapters.account_credentials import AccountCredentials
    from sandbank.api.adapters.account_users import AccountUsers

    async def work(database: Database) -> list[dict[str, Any]]:
        user_id = await AccountUsers(database.sessions).get_id(user)
        listed = await AccountCredentials(database.sessions, _nothing_cached).list_tokens(user_id)
        return [asdict(token) | {"mask": _masked(token.mask)} for token in listed]

    columns = {"token_id": "ID", "mask": "Token", "name": "Name", "created_at": "Created"}
    show(with_database(data_dir, work), columns, as_json=as_json, empty="No tokens.")


@tokens.command("delete")
def delete_token(
    user: UserArgument, token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token's ID.")], data_dir: DataDir = None
) -> None:
    """Delete an access token. Running services refuse it within a second."""
    from sandbank.api.adapters.account_credentials import AccountCredentials
    from sandbank.api.adapters.account_users import AccountUsers
    from sandbank.api.core.access_keys import require_id
    from sandbank.domain.errors import NotFoundError

    token_id = require_id(token)

    async def work(database: Database) -> bool:
        user_id = await AccountUsers(database.sessions).get_id(user)
        return await AccountCredentials(database.sessions, _nothing_cached).delete_token(user_id, token_id)

    if not with_database(data_dir, work):
        raise NotFoundError(f"the user has no token {token}: `sandbank token list {user}` shows theirs")


def _nothing_cached() -> None:
    """Services in other processes hear of it through the database."""


def _masked(mask: Mask) -> str:
    return f"{mask.prefix}{mask.first}...{mask.last}"


def _tell(made: dict[str, Any], kind: str, raw: str, *, as_json: bool) -> None:
    from sandbank.cli.console import say

    if as_json:
        print_json({name: value for name, value in made.items() if name != "mask"} | {kind: raw})
    else:
        say(raw)
