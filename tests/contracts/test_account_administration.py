"""What operators do to accounts, on both databases (templates contract §3.1, REST contract §5, §16)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from sandbank.aiokit.tasks import TaskGroup
from sandbank.api.adapters.account_credentials import AccountCredentials
from sandbank.api.adapters.account_repo import AccountRepo
from sandbank.api.adapters.account_teams import AccountTeams
from sandbank.api.adapters.account_users import AccountUsers
from sandbank.api.core.ports import Identity
from sandbank.api.core.team_selection import TeamSelector, require_same_team
from sandbank.db.database import Database
from sandbank.db.schema import upgrade
from sandbank.domain.credentials import ACCESS_TOKEN_PREFIX, API_KEY_PREFIX, hash_credential, new_access_token, new_api_key
from sandbank.domain.errors import ConflictError, DeniedError, InternalError, InvalidError, NotFoundError

SOMEBODY = Identity("https://issuer", "somebody")


@pytest.fixture
async def teams(database: Database) -> AccountTeams:
    await upgrade(database.engine)
    return AccountTeams(database.sessions)


@pytest.fixture
def users(database: Database) -> AccountUsers:
    return AccountUsers(database.sessions)


@pytest.fixture
async def accounts(database: Database) -> AsyncIterator[AccountRepo]:
    group = TaskGroup("test", lambda name, error: None)
    yield AccountRepo(database.sessions, group, lambda key: None)
    await group.close()


async def test_a_team_is_found_by_slug_and_id(teams: AccountTeams) -> None:
    made = await teams.create("Jörg & Söhne", "j@example.org", "base_v1", None)
    assert (made.slug, made.limits["concurrent_sandboxes"], made.limits["max_length_hours"]) == ("jorg-sohne", 20, 1)
    assert await teams.get("jorg-sohne") == await teams.get(made.team_id.upper()) == made
    # Neither collation nor wild cards find anything else.
    for reference in ("JORG-SOHNE", "jorg%", "jorg_sohne", "", "jorg-sohne ", "jörg-söhne", "x\0"):
        with pytest.raises((NotFoundError, InvalidError)):
            await teams.get(reference)


async def test_equal_names_get_slugs_of_their_own_and_given_ones_are_kept_or_refused(teams: AccountTeams) -> None:
    first, second = await teams.create("Same", "", "base_v1", None), await teams.create("Same", "", "base_v1", None)
    # A look-alike in another script or width never takes a slug over.
    third = await teams.create("\uff33\uff41\uff4d\uff45", "", "base_v1", None)
    fourth = await teams.create("Ѕаме", "", "base_v1", None)
    assert first.slug == "same"
    assert len({first.slug, second.slug, third.slug, fourth.slug}) == 4
    with pytest.raises(ConflictError, match="slug 'same'"):
        await teams.create("Other", "", "base_v1", "same")
    for slug in ("Same", "ѕаме", "a/b", "a:b", "-a", "", "a" * 64, "a b"):
        with pytest.raises(InvalidError, match="slug"):
            await teams.create("Other", "", "base_v1", slug)
    with pytest.raises(InvalidError, match="there are base_v1"):
        await teams.create("Other", "", "pro", None)
    assert len(await teams.list_all()) == 4


async def test_own_limits_take_the_place_of_the_tiers(teams: AccountTeams) -> None:
    team = await teams.create("Team", "", "base_v1", None)
    await teams.set_limits("team", {"concurrent_sandboxes": 5})
    await teams.set_limits("team", {"max_vcpu": 2})
    assert (await teams.get("team")).limits == {**team.limits, "concurrent_sandboxes": 5, "max_vcpu": 2}
    with pytest.raises(InvalidError, match="disk"):
        await teams.set_limits("team", {"max_disk_size_mb": 1})
    await teams.reset_limits("team")
    assert (await teams.get("team")).limits == team.limits


async def test_standing_reaches_whoever_asks(teams: AccountTeams, accounts: AccountRepo) -> None:
    team = await teams.create("Team", "", "base_v1", None)
    await accounts.forget_if_changed()
    assert await accounts.find_team(team.team_id) is not None
    await teams.set_blocked("team", True, "unpaid")
    await teams.set_banned("team", True)
    cached = await accounts.find_team(team.team_id)
    assert cached is not None
    assert not cached.is_blocked
    await accounts.forget_if_changed()
    fresh = await accounts.find_team(team.team_id)
    assert fresh is not None
    assert (fresh.is_blocked, fresh.blocked_reason, fresh.is_banned) == (True, "unpaid", True)
    await teams.set_blocked("team", False, None)
    assert (await teams.get("team")).blocked_reason is None


async def test_an_identity_is_one_users(users: AccountUsers, teams: AccountTeams, accounts: AccountRepo) -> None:
    user = await users.create(SOMEBODY)
    with pytest.raises(ConflictError, match="identity"):
        await users.create(SOMEBODY)
    assert await accounts.find_user_by_identity(SOMEBODY) == user.user_id
    for other in (Identity("https://issuer/", "somebody"), Identity("https://issuer", "Somebody"), Identity("https://issuer", "%")):
        assert await accounts.find_user_by_identity(other) is None
    assert [entry.user_id for entry in await users.list_all()] == [user.user_id]
    for text in (str(uuid.uuid4()), "x", ""):
        with pytest.raises(NotFoundError):
            await users.get_id(text)


async def test_teams_of_users(users: AccountUsers, teams: AccountTeams, accounts: AccountRepo) -> None:
    """Which team a user's request is for, in the words of §3.5."""
    user = (await users.create(SOMEBODY)).user_id
    one, two, foreign = [await teams.create(name, "", "base_v1", None) for name in ("One", "Two", "Foreign")]
    selector = TeamSelector(accounts, accounts)
    with pytest.raises(DeniedError, match="You don't have access to any teams"):
        await selector.select(user, None)
    await users.add_member(one.team_id, user, default=False)
    await users.add_member(two.team_id, user, default=False)
    await users.add_member(two.team_id, user, default=False)  # again changes nothing
    assert (await selector.select(user, None)).team_id == one.team_id
    await users.add_member(two.team_id, user, default=True)
    assert (await selector.select(user, None)).team_id == two.team_id
    assert (await selector.select(user, one.team_id.upper())).team_id == one.team_id
    for team_id in (foreign.team_id, str(uuid.uuid4()), "x", ""):
        with pytest.raises(DeniedError, match="You are not allowed to access this team"):
            await selector.select(user, team_id)
    assert (await users.list_all())[0].teams == ("two", "one")
    await users.remove_member(two.team_id, user)
    with pytest.raises(InternalError, match="Default team not found"):
        await selector.select(user, None)
    with pytest.raises(NotFoundError):
        await users.remove_member(two.team_id, user)
    team = await selector.get(one.team_id)
    require_same_team(team, None)
    require_same_team(team, one.team_id.upper())
    with pytest.raises(InvalidError, match="Team ID param mismatch with the API key"):
        require_same_team(team, two.team_id)


async def test_keys_and_tokens_belong_to_one(database: Database, teams: AccountTeams, users: AccountUsers, accounts: AccountRepo) -> None:
    store = AccountCredentials(database.sessions, accounts.forget)
    ours, theirs = [await teams.create(name, "", "base_v1", None) for name in ("Ours", "Theirs")]
    user, other = [(await users.create(None)).user_id for _ in range(2)]
    raw, raw_token = new_api_key(), new_access_token()
    key = await store.add_key(ours.team_id, user, "a", raw)
    token = await store.add_token(user, "t", raw_token)
    assert (await store.list_keys(ours.team_id), await store.list_keys(theirs.team_id)) == ([key], [])
    assert (await store.list_tokens(user), await store.list_tokens(other)) == ([token], [])
    assert not await store.rename_key(theirs.team_id, uuid.UUID(key.key_id), "b")
    assert not await store.delete_key(theirs.team_id, uuid.UUID(key.key_id))
    assert not await store.delete_token(other, uuid.UUID(token.token_id))
    assert await store.rename_key(ours.team_id, uuid.UUID(key.key_id), "b")
    assert [entry.name for entry in await store.list_keys(ours.team_id)] == ["b"]
    key_hash, token_hash = hash_credential(raw, API_KEY_PREFIX) or "", hash_credential(raw_token, ACCESS_TOKEN_PREFIX) or ""
    assert await accounts.find_team_by_key(key_hash) is not None
    assert await accounts.find_user_by_token(token_hash) == user
    # Deleted is deleted, although it was cached.
    assert await store.delete_key(ours.team_id, uuid.UUID(key.key_id))
    assert await accounts.find_team_by_key(key_hash) is None
    assert await store.delete_token(user, uuid.UUID(token.token_id))
    assert await accounts.find_user_by_token(token_hash) is None
    with pytest.raises(ConflictError):
        await store.add_key(str(uuid.uuid4()), None, "nobody's", new_api_key())
