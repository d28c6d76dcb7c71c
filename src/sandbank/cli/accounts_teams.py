"""`sandbank team`: teams, what they may use, who is in them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sandbank.cli.accounts_database import AsJson, DataDir, print_json, show, with_database

if TYPE_CHECKING:
    from sandbank.api.adapters.account_teams import TeamEntry
    from sandbank.db.database import Database

app = typer.Typer(name="team", help="Teams: they own keys, templates and sandboxes.", no_args_is_help=True)

TeamArgument = Annotated[str, typer.Argument(metavar="TEAM", help="The team's slug or ID.")]
Limit = Annotated[int | None, typer.Option(min=1)]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    tier: Annotated[str, typer.Option(help="The plan with its limits: base_v1, or local_v1 for the machine's own.")] = "base_v1",
    slug: Annotated[str | None, typer.Option(help="Namespace of its templates [default: made of the name].")] = None,
    email: Annotated[str, typer.Option(help="Whom to write to.")] = "",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Create a team. It has neither keys nor members yet."""
    from sandbank.api.adapters.account_teams import AccountTeams
    from sandbank.api.core.access_keys import require_name

    checked = require_name(name)
    team = with_database(data_dir, lambda database: AccountTeams(database.sessions).create(checked, email[:255], tier, slug))
    _show([team], as_json=as_json)


@app.command("list")
def list_teams(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List all teams."""
    from sandbank.api.adapters.account_teams import AccountTeams

    _show(with_database(data_dir, lambda database: AccountTeams(database.sessions).list_all()), as_json=as_json)


@app.command()
def block(
    team: TeamArgument, reason: Annotated[str | None, typer.Option(help="What its members read.")] = None, data_dir: DataDir = None
) -> None:
    """Let a team look and clean up, but start nothing. Its sandboxes run on until they end."""
    from sandbank.api.adapters.account_teams import AccountTeams

    with_database(data_dir, lambda database: AccountTeams(database.sessions).set_blocked(team, True, reason))


@app.command()
def unblock(team: TeamArgument, data_dir: DataDir = None) -> None:
    """Let a blocked team work again."""
    from sandbank.api.adapters.account_teams import AccountTeams

    with_database(data_dir, lambda database: AccountTeams(database.sessions).set_blocked(team, False, None))


@app.command()
def ban(team: TeamArgument, data_dir: DataDir = None) -> None:
    """Refuse every request of a team. Its sandboxes run on until they end."""
    from sandbank.api.adapters.account_teams import AccountTeams

    with_database(data_dir, lambda database: AccountTeams(database.sessions).set_banned(team, True))


@app.command()
def unban(team: TeamArgument, data_dir: DataDir = None) -> None:
    """Lift a ban."""
    from sandbank.api.adapters.account_teams import AccountTeams

    with_database(data_dir, lambda database: AccountTeams(database.sessions).set_banned(team, False))


@app.command()
def limits(
    team: TeamArgument,
    concurrent_sandboxes: Limit = None,
    max_length_hours: Limit = None,
    concurrent_template_builds: Limit = None,
    max_vcpu: Limit = None,
    max_ram_mb: Limit = None,
    disk_mb: Limit = None,
    max_disk_size_mb: Limit = None,
    events_ttl_days: Limit = None,
    reset: Annotated[bool, typer.Option("--reset", help="Back to what the tier and addons give.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show what a team may use, or change it. Once changed, its tier and addons do not count until `--reset`."""
    from sandbank.api.adapters.account_teams import AccountTeams

    given: dict[str, int | None] = {
        "concurrent_sandboxes": concurrent_sandboxes,
        "max_length_hours": max_length_hours,
        "concurrent_template_builds": concurrent_template_builds,
        "max_vcpu": max_vcpu,
        "max_ram_mb": max_ram_mb,
        "disk_mb": disk_mb,
        "max_disk_size_mb": max_disk_size_mb,
        "events_ttl_days": events_ttl_days,
    }
    changes = {name: value for name, value in given.items() if value is not None}

    async def work(database: Database) -> TeamEntry:
        teams = AccountTeams(database.sessions)
        if reset:
            await teams.reset_limits(team)
        if changes:
            await teams.set_limits(team, changes)
        return await teams.get(team)

    found = with_database(data_dir, work)
    if as_json:
        print_json(dict(found.limits))
    else:
        rows = [{"limit": name, "value": value} for name, value in found.limits.items()]
        show(rows, {"limit": "Limit", "value": "Value"}, as_json=False, empty="")


@app.command("add-member")
def add_member(
    team: TeamArgument,
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's ID.")],
    default: Annotated[bool, typer.Option("--default", help="Make it their default team, which their first one is anyway.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Put a user into a team."""
    from sandbank.api.adapters.account_teams import AccountTeams
    from sandbank.api.adapters.account_users import AccountUsers

    async def work(database: Database) -> None:
        users = AccountUsers(database.sessions)
        found = await AccountTeams(database.sessions).get(team)
        await users.add_member(found.team_id, await users.get_id(user), default=default)

    with_database(data_dir, work)


@app.command("remove-member")
def remove_member(
    team: TeamArgument, user: Annotated[str, typer.Argument(metavar="USER", help="The user's ID.")], data_dir: DataDir = None
) -> None:
    """Take a user out of a team. Keys that they made stay: delete those that they know."""
    from sandbank.api.adapters.account_teams import AccountTeams
    from sandbank.api.adapters.account_users import AccountUsers

    async def work(database: Database) -> None:
        users = AccountUsers(database.sessions)
        found = await AccountTeams(database.sessions).get(team)
        await users.remove_member(found.team_id, await users.get_id(user))

    with_database(data_dir, work)


def _show(teams: Any, *, as_json: bool) -> None:
    rows = [asdict(team) | {"standing": _standing(team), "sandboxes": team.limits["concurrent_sandboxes"]} for team in teams]
    if as_json:
        rows = [{name: value for name, value in row.items() if name not in ("standing", "sandboxes")} for row in rows]
    columns = {
        "slug": "Slug",
        "name": "Name",
        "team_id": "ID",
        "tier": "Tier",
        "sandboxes": "Sandboxes",
        "members": "Members",
        "keys": "Keys",
        "standing": "Standing",
    }
    show(rows, columns, as_json=as_json, empty="No teams.")


def _standing(team: TeamEntry) -> str:
    if team.is_banned:
        return "banned"
    return (f"blocked: {team.blocked_reason}" if team.blocked_reason else "blocked") if team.is_blocked else ""
