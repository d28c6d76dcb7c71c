"""Secrets through the official client (rest-api contract §20)."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from e2b import AsyncSecret, Secret
from e2b.exceptions import SecretException, SecretNotFoundException

from tests.product.instance import Instance

Make = Callable[..., object]


@pytest.fixture
def name(server: Instance) -> Iterator[str]:
    chosen = f"key-{secrets.token_hex(4)}"
    yield chosen
    Secret.destroy(chosen)


def refused(server: Instance, method: str, path: str, body: object = None, key: str | None = "") -> tuple[int, str, str | None]:
    """Status, message and Cache-Control of a refused request: with the installation's key, another, or None."""
    headers = {"Content-Type": "application/json"} | ({} if key is None else {"X-API-Key": key or server.api_key})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.api_url + path, data, headers, method=method)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=20)
    answer = json.loads(raised.value.read())
    assert answer["code"] == raised.value.code
    return raised.value.code, answer["message"], raised.value.headers["Cache-Control"]


def test_from_create_to_delete(name: str) -> None:
    made = Secret.create(name.upper(), "value", metadata={"for": "tests"})
    assert (made.name, made.version, made.metadata) == (name, 1, {"for": "tests"})
    assert made.secret_id.startswith("sec_")
    assert Secret.get_info(made.secret_id) == Secret.get_info(name) == made
    second = Secret.update(name, "other value")
    assert (second.version, second.metadata, second.secret_id) == (2, {"for": "tests"}, made.secret_id)
    assert Secret.update(made.secret_id, "third", metadata={}).metadata == {}
    with pytest.raises(SecretException, match="409: Secret cannot be modified in its current state"):
        Secret.create(name, "value")
    assert Secret.destroy(name) is True
    assert Secret.destroy(name) is False
    with pytest.raises(SecretNotFoundException):
        Secret.get_info(made.secret_id)
    with pytest.raises(SecretNotFoundException):
        Secret.update(name, "value")


def test_pages(server: Instance) -> None:
    names = [f"page-{secrets.token_hex(4)}-{number}" for number in range(5)]
    for name in names:
        Secret.create(name, "value")
    try:
        paginator, seen, pages = Secret.list(limit=2), [], 0
        while paginator.has_next:
            seen += [secret.name for secret in paginator.next_items()]
            pages += 1
        assert [name for name in seen if name in names] == names
        assert pages == (len(seen) + 1) // 2
    finally:
        for name in names:
            Secret.destroy(name)


async def test_the_asynchronous_client(name: str) -> None:
    made = await AsyncSecret.create(name, "value")
    assert await AsyncSecret.get_info(name) == made
    assert (await AsyncSecret.update(name, "new")).version == 2
    assert name in [secret.name for secret in await AsyncSecret.list().next_items()]
    assert await AsyncSecret.destroy(name) is True


def test_errors_say_little_and_are_not_kept(server: Instance) -> None:
    """Fixed messages, never what was sent; `Cache-Control: no-store`."""
    value = "do-not-repeat-me"
    wrong = (400, "Invalid secrets request", "no-store")
    for body in (
        {"name": f"{value}!", "value": "x"},
        {"name": "sec_x", "value": "x"},
        {"name": "x" * 129, "value": "x"},
        {"name": "x", "value": [value]},
        {"name": "x", "value": "x" * 65537},
        {"name": "x", "value": value, "metadata": {"k": 1}},
        {"value": value},
        value,
    ):
        assert refused(server, "POST", "/secrets", body) == wrong
    assert refused(server, "GET", "/secrets?limit=0") == wrong
    assert refused(server, "GET", f"/secrets?nextToken={value}") == wrong
    assert refused(server, "GET", f"/secrets/{value}") == (404, "Secret not found", "no-store")
    assert refused(server, "GET", "/secrets", key=None) == (401, "You are not authenticated", "no-store")
    assert refused(server, "GET", "/secrets", key=f"e2b_{'0' * 40}")[:2] == (401, "You are not authenticated")
    status, message, _ = refused(server, "POST", "/secrets", {"name": "x", "value": "x" * 600_000})
    assert status == 413
    assert "xxx" not in message
