"""Secrets on their way from the API to a request, and how long the node remembers them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from sandbank.domain.errors import NotFoundError, UnavailableError
from sandbank.orchestrator.adapters import api_secrets
from sandbank.orchestrator.adapters.api_secrets import ApiSecrets
from sandbank.orchestrator.core.inventory import Inventory, Start


@dataclass
class Api:
    secrets: dict[str, str]
    asked: list[tuple[str, str, tuple[str, ...]]]

    async def values(self, sandbox_id: str, execution_id: str, names: Sequence[str], timeout_seconds: float) -> dict[str, str]:
        self.asked.append((sandbox_id, execution_id, tuple(names)))
        await asyncio.sleep(0)
        return {name: self.secrets[name] for name in names if name in self.secrets}

    async def close(self) -> None: ...


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def api() -> Api:
    return Api({"a": "1", "b": "2"}, [])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(api_secrets, "time", clock)
    return clock


@pytest.fixture
def source(api: Api, clock: Clock) -> ApiSecrets:
    inventory = Inventory(10)
    inventory.starting["i1"] = Start("exec-1", 1, 1)
    inventory.starting["i2"] = Start("exec-2", 1, 1)
    made = ApiSecrets("unix:/nowhere", inventory)
    made._client = api  # type: ignore[assignment]
    return made


async def test_what_many_requests_want_is_asked_for_once_per_sandbox(source: ApiSecrets, api: Api) -> None:
    found = await asyncio.gather(*(source.values("i1", ["a", "b"]) for _ in range(20)), source.values("i2", ["a"]))
    assert all(values == {"a": "1", "b": "2"} for values in found[:20])
    assert sorted(api.asked) == [("i1", "exec-1", ("a", "b")), ("i2", "exec-2", ("a",))]


async def test_a_change_is_seen_after_ten_seconds(source: ApiSecrets, api: Api, clock: Clock) -> None:
    assert await source.values("i1", ["a"]) == {"a": "1"}
    api.secrets = {"a": "new"}
    clock.now += 9.9
    assert await source.values("i1", ["a"]) == {"a": "1"}
    clock.now += 0.2
    assert await source.values("i1", ["a"]) == {"a": "new"}
    del api.secrets["a"]
    clock.now += 10.1
    assert await source.values("i1", ["a"]) == {}


async def test_a_missing_secret_is_not_asked_for_with_every_request(source: ApiSecrets, api: Api, clock: Clock) -> None:
    for _ in range(5):
        assert await source.values("i1", ["none"]) == {}
    assert len(api.asked) == 1
    api.secrets["none"] = "now"
    clock.now += 2.1
    assert await source.values("i1", ["none"]) == {"none": "now"}


async def test_values_do_not_stay_in_memory_for_long(source: ApiSecrets, clock: Clock) -> None:
    await source.values("i1", ["a", "b"])
    clock.now += 11
    await source.values("i2", ["a"])
    assert [key[0] for key in source._kept] == ["i2"]


async def test_without_an_api_or_a_sandbox(source: ApiSecrets) -> None:
    with pytest.raises(NotFoundError):
        await source.values("i3", ["a"])
    with pytest.raises(UnavailableError, match="SANDBANK_API_GRPC_ADDRESS"):
        await ApiSecrets(None, Inventory(10)).values("i1", ["a"])
