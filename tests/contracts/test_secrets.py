"""Secrets on both databases, with real encryption (rest-api contract §20; templates contract §9.3)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from sandbank.api.adapters.secret_keys import BackendError, FixedKeys, SecretSealer, new_key
from sandbank.api.adapters.secret_repo import SecretRepo
from sandbank.api.core.team import Team
from sandbank.api.core.team_secrets import SecretReader, SecretRules, Secrets
from sandbank.db import models_accounts
from sandbank.db.database import Database
from sandbank.db.schema import upgrade
from sandbank.db.seed import seed_local_development
from sandbank.domain import development, type_id
from sandbank.domain.errors import ConflictError, DeniedError, ExhaustedError, InvalidError, NotFoundError
from sandbank.domain.sandbox import Sandbox
from sandbank.state.memory_sandbox_store import MemorySandboxStore
from tests.unit.api.made import sandbox

US = Team(development.TEAM_ID, development.TEAM_SLUG, development.TEAM_NAME, 10, 1)
THEM = Team(str(uuid.uuid4()), "them", "Them", 10, 1)
VALUE = "s3cr3t-välue"


class NoIdentity:
    """Is not asked by any of these tests."""

    def issue(self, sandbox: Sandbox, audience: str) -> str:
        raise AssertionError(audience)

    def key_set(self) -> dict[str, Any]:
        return {}

    def discovery(self) -> dict[str, Any]:
        return {}


class Store:
    """The database with everything on top of it."""

    def __init__(self, database: Database, keys: str) -> None:
        self.database = database
        self.repo = SecretRepo(database.sessions)
        self.sandboxes = MemorySandboxStore()
        self.use(keys)

    def use(self, keys: str) -> None:
        self.sealer = SecretSealer(FixedKeys(keys))
        self.secrets = Secrets(self.repo, self.sealer, SecretRules(enabled=True, most_per_team=4), lambda: datetime.now(UTC))
        self.reader = SecretReader(self.repo, self.sealer, self.sandboxes, NoIdentity())

    async def runs(self, value: str, team: Team = US) -> Sandbox:
        rules = {"api.example.com": [{"transform": {"headers": {"Authorization": value}}}]}
        made = sandbox(f"i{uuid.uuid4().hex}", team_id=team.team_id, network={"rules": rules})
        await self.sandboxes.add(made)
        return made


@pytest.fixture
async def store(database: Database) -> Store:
    await upgrade(database.engine)
    await seed_local_development(database.sessions)
    async with database.sessions.begin() as session:
        session.add(models_accounts.Team(id=uuid.UUID(THEM.team_id), name="Them", slug="them", email="t@x", tier="base_v1"))
    return Store(database, new_key())


async def read(store: Store, name: str) -> str | None:
    running = await store.runs(f"Bearer ${{e2b.secrets.{name}}}")
    reference = f"secrets.{name}"
    return (await store.reader.values(running.sandbox_id, running.execution_id, [reference])).get(reference)


async def test_a_secret_is_found_by_id_and_by_name_and_its_value_by_nobody(store: Store) -> None:
    made = await store.secrets.create(US, "OpenAI-Key", VALUE, {"stage": "test"})
    assert (made.name, made.version, made.metadata) == ("openai-key", 1, {"stage": "test"})
    assert type_id.decode("sec", made.secret_id) == made.key
    for reference in (made.secret_id, "openai-key", "OPENAI-KEY"):
        assert await store.secrets.get(US, reference) == made
    async with store.database.engine.connect() as connection:
        row = (await connection.execute(text("SELECT * FROM secrets"))).one()
    assert not any(VALUE.encode() in bytes(cell) for cell in row if isinstance(cell, bytes | memoryview))
    assert VALUE not in str(row)
    assert await read(store, "OpenAI-Key") == VALUE


async def test_a_new_value_is_a_new_version_and_metadata_stays_unless_it_is_sent(store: Store) -> None:
    made = await store.secrets.create(US, "key", VALUE, {"a": "b"})
    second = await store.secrets.update(US, "key", "two", None)
    assert (second.version, second.metadata, second.created_at) == (2, {"a": "b"}, made.created_at)
    assert second.updated_at > made.updated_at
    third = await store.secrets.update(US, made.secret_id, "three", {})
    assert (third.version, third.metadata) == (3, {})
    assert await store.secrets.get(US, "key") == third
    assert await read(store, "key") == "three"


async def test_updates_at_the_same_time_each_make_a_version(store: Store) -> None:
    await store.secrets.create(US, "key", "0", {})
    done = await asyncio.gather(*(store.secrets.update(US, "key", str(number), None) for number in range(1, 5)), return_exceptions=True)
    versions = [outcome.version for outcome in done if not isinstance(outcome, BaseException)]
    assert sorted(versions) == list(range(2, 2 + len(versions)))
    assert all(isinstance(outcome, ConflictError) for outcome in done if isinstance(outcome, BaseException))
    last = await store.secrets.get(US, "key")
    assert last.version == 1 + len(versions)
    winner = next(
        number for number, outcome in enumerate(done, 1) if not isinstance(outcome, BaseException) and outcome.version == last.version
    )
    assert await read(store, "key") == str(winner)


async def test_what_belongs_to_others_is_not_there(store: Store) -> None:
    made = await store.secrets.create(THEM, "key", VALUE, {})
    for reference in (made.secret_id, "key", "sec_00000000000000000000000000", "sec_x", "sec_zzzzzzzzzzzzzzzzzzzzzzzzzz"):
        for call in (store.secrets.get(US, reference), store.secrets.update(US, reference, "x", None), store.secrets.delete(US, reference)):
            with pytest.raises(NotFoundError, match=r"^Secret not found$"):
                await call
    await store.secrets.create(US, "key", "ours", {})
    assert await read(store, "key") == "ours"
    assert (await store.secrets.get(THEM, "key")).version == 1


async def test_names_are_taken_once_and_places_are_limited(store: Store) -> None:
    await store.secrets.create(US, "a", VALUE, {})
    with pytest.raises(ConflictError):
        await store.secrets.create(US, "A", VALUE, {})
    for name in "bcd":
        await store.secrets.create(US, name, VALUE, {})
    with pytest.raises(ExhaustedError) as raised:
        await store.secrets.create(US, "e", VALUE, {})
    assert raised.value.error_code == "secret_limit_reached"
    await store.secrets.delete(US, "a")
    await store.secrets.create(US, "e", VALUE, {})


async def test_the_limit_holds_for_those_made_at_once(store: Store) -> None:
    done = await asyncio.gather(*(store.secrets.create(US, f"n{number}", VALUE, {}) for number in range(8)), return_exceptions=True)
    assert sum(isinstance(outcome, ExhaustedError) for outcome in done) == 4
    assert len((await store.secrets.page(US, 100, None))[0]) == 4


async def test_pages_are_oldest_first_and_complete(store: Store) -> None:
    for name in "dcba":
        await store.secrets.create(US, name, VALUE, {})
    seen: list[str] = []
    token: str | None = None
    while True:
        found, token = await store.secrets.page(US, 3, token)
        seen += [secret.name for secret in found]
        if token is None:
            break
    assert sorted(seen) == list("abcd")
    assert len(seen) == 4
    with pytest.raises(InvalidError):
        await store.secrets.page(US, 3, "nonsense")


@pytest.mark.parametrize(
    ("value", "metadata"),
    [
        ("", {}),
        ("x" * 65537, {}),
        ("x", {str(number): "" for number in range(33)}),
        ("x", {"k" * 129: ""}),
        ("x", {"k": "v" * 1025}),
        ("x", {str(number): "v" * 1000 for number in range(9)}),
    ],
)
async def test_too_much_is_refused_in_fixed_words(store: Store, value: str, metadata: Mapping[str, str]) -> None:
    with pytest.raises(InvalidError, match=r"^Invalid secrets request$"):
        await store.secrets.create(US, "key", value, metadata)


async def test_a_name_must_not_look_like_an_id(store: Store) -> None:
    with pytest.raises(InvalidError, match=r"^Invalid secrets request$"):
        await store.secrets.create(US, "Sec_key", VALUE, {})


async def test_a_node_gets_only_what_the_sandboxs_own_rules_name(store: Store) -> None:
    for name in ("one", "two"):
        await store.secrets.create(US, name, name, {})
    await store.secrets.create(THEM, "theirs", VALUE, {})
    running = await store.runs("${e2b.secrets.one} ${e2b.secrets.theirs}")
    ours = (running.sandbox_id, running.execution_id)
    assert await store.reader.values(*ours, ["secrets.one"]) == {"secrets.one": "one"}
    assert await store.reader.values(*ours, ["secrets.one", "secrets.theirs"]) == {"secrets.one": "one"}
    with pytest.raises(DeniedError):
        await store.reader.values(*ours, ["secrets.two"])
    for unknown in ((running.sandbox_id, "another run"), ("inobody", running.execution_id)):
        with pytest.raises(NotFoundError):
            await store.reader.values(*unknown, ["secrets.one"])


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE secrets SET sealed_value = (SELECT sealed_value FROM secrets WHERE name = 'b') WHERE name = 'a'",
        "UPDATE secrets SET wrapped_key = (SELECT wrapped_key FROM secrets WHERE name = 'b') WHERE name = 'a'",
        "UPDATE secrets SET current_version = 7 WHERE name = 'a'",
    ],
)
async def test_what_was_moved_about_in_the_database_does_not_open(store: Store, tampering: str) -> None:
    for name in "ab":
        await store.secrets.create(US, name, name, {})
    async with store.database.engine.begin() as connection:
        await connection.execute(text(tampering))
    with pytest.raises(BackendError, match=r"^Secrets backend error$"):
        await read(store, "a")
    assert await read(store, "b") == "b"


async def test_keys_are_rotated_and_old_ones_not_needed_then(store: Store) -> None:
    old, new = new_key(), new_key()
    store.use(old)
    for name in "abc":
        await store.secrets.create(US, name, name, {})
    store.use(f"{new}, {old}")
    assert await read(store, "a") == "a"
    await store.secrets.update(US, "c", "C", None)
    left = [one async for one in store.repo.wrapped_otherwise(store.sealer.key_id)]
    assert {secret.name for secret, _ in left} == {"a", "b"}
    for secret, sealed in left:
        assert await store.repo.rewrap(secret, store.sealer.rewrap(sealed, secret.seal_context))
    assert await store.repo.keys_in_use() == {store.sealer.key_id}
    store.use(new)
    assert [await read(store, name) for name in "abc"] == ["a", "b", "C"]
    store.use(old)
    with pytest.raises(BackendError):
        await read(store, "a")


async def test_a_value_that_changed_meanwhile_is_not_rewrapped(store: Store) -> None:
    await store.secrets.create(US, "a", "old", {})
    [(secret, sealed)] = [one async for one in store.repo.wrapped_otherwise("another")]
    await store.secrets.update(US, "a", "new", None)
    assert not await store.repo.rewrap(secret, store.sealer.rewrap(sealed, secret.seal_context))
    assert await read(store, "a") == "new"


async def test_the_switch(store: Store) -> None:
    off = Secrets(store.repo, store.sealer, SecretRules(enabled=False, most_per_team=4), lambda: datetime.now(UTC))
    calls: list[Any] = [
        off.create(US, "a", "b", {}),
        off.get(US, "a"),
        off.page(US, 1, None),
        off.update(US, "a", "b", None),
        off.delete(US, "a"),
    ]
    for call in calls:
        with pytest.raises(DeniedError, match=r"^Secrets are not available for this team$"):
            await call


async def test_a_team_takes_its_secrets_with_it(store: Store) -> None:
    await store.secrets.create(THEM, "key", VALUE, {})
    async with store.database.engine.begin() as connection:
        await connection.execute(text("DELETE FROM teams WHERE slug = 'them'"))
        assert (await connection.execute(text("SELECT count(*) FROM secrets"))).scalar_one() == 0


def test_a_sealed_value_differs_each_time() -> None:
    sealer = SecretSealer(FixedKeys(new_key()))
    one, two = sealer.seal("x", b"here"), sealer.seal("x", b"here")
    assert (one.value, one.wrapped_key) != (two.value, two.wrapped_key)
    with pytest.raises(BackendError):
        sealer.open(replace(one, value=two.value), b"here")
