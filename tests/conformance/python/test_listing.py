"""`Sandbox.list`: filters, order and pages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from e2b import Sandbox, SandboxException, SandboxInfo, SandboxQuery, SandboxState

from tests.product.instance import Instance

MARK = uuid.uuid4().hex


@pytest.fixture(scope="module")
def family(server: Instance) -> Iterator[list[Sandbox]]:
    """Five sandboxes with a mark of their own; number 3 has a value that needs encoding."""
    values = ["0", "1", "2", "a b&c=d+e%20ü/?", "4"]
    made = [Sandbox.create(timeout=300, metadata={"family": MARK, "number & more": value}) for value in values]
    yield made
    for sandbox in made:
        sandbox.kill()


def everything(**options: object) -> list[SandboxInfo]:
    """All pages of a listing of the family."""
    query = SandboxQuery(metadata={"family": MARK}, **options.pop("query", {}))  # type: ignore[arg-type]
    paginator = Sandbox.list(query=query, **options)  # type: ignore[arg-type]
    found = []
    while paginator.has_next:
        found += paginator.next_items()
    return found


def test_metadata_filter_finds_the_family_newest_first(family: list[Sandbox]) -> None:
    found = everything()
    assert [info.sandbox_id for info in found] == [sandbox.sandbox_id for sandbox in reversed(family)]
    assert {info.name for info in found} == {"base"}
    assert {info.state for info in found} == {SandboxState.RUNNING}
    assert all(info.metadata["family"] == MARK for info in found)


def test_all_pairs_must_match_whatever_characters_they_have(family: list[Sandbox]) -> None:
    query = SandboxQuery(metadata={"family": MARK, "number & more": "a b&c=d+e%20ü/?"})
    assert [info.sandbox_id for info in Sandbox.list(query=query).next_items()] == [family[3].sandbox_id]
    query = SandboxQuery(metadata={"family": MARK, "number & more": "4"})
    assert [info.sandbox_id for info in Sandbox.list(query=query).next_items()] == [family[4].sandbox_id]
    query = SandboxQuery(metadata={"family": MARK, "unknown": "4"})
    assert Sandbox.list(query=query).next_items() == []


def test_order(family: list[Sandbox]) -> None:
    assert [info.sandbox_id for info in everything(order="asc")] == [sandbox.sandbox_id for sandbox in family]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_neither_repeat_nor_miss(family: list[Sandbox], order: str) -> None:
    paginator = Sandbox.list(query=SandboxQuery(metadata={"family": MARK}), limit=2, order=order)  # type: ignore[arg-type]
    pages = []
    while paginator.has_next:
        pages.append([info.sandbox_id for info in paginator.next_items()])
    expected = [sandbox.sandbox_id for sandbox in family]
    if order == "desc":
        expected.reverse()
    assert pages == [expected[0:2], expected[2:4], expected[4:]]


def test_exact_last_page_has_no_successor(family: list[Sandbox]) -> None:
    paginator = Sandbox.list(query=SandboxQuery(metadata={"family": MARK}), limit=5)
    assert len(paginator.next_items()) == 5
    assert paginator.has_next is False


def test_page_can_be_taken_up_by_its_token(family: list[Sandbox]) -> None:
    first = Sandbox.list(query=SandboxQuery(metadata={"family": MARK}), limit=3)
    first.next_items()
    second = Sandbox.list(query=SandboxQuery(metadata={"family": MARK}), limit=3, next_token=first.next_token)
    assert [info.sandbox_id for info in second.next_items()] == [family[1].sandbox_id, family[0].sandbox_id]


def test_states_template_and_start(family: list[Sandbox]) -> None:
    assert len(everything(query={"state": [SandboxState.RUNNING]})) == 5
    assert everything(query={"state": [SandboxState.PAUSED]}) == []
    assert len(everything(query={"template": "base"})) == 5
    assert everything(query={"template": "no-such-template"}) == []
    third = family[2].get_info().started_at
    assert len(everything(query={"started_after": third})) == 3
    assert everything(query={"started_after": datetime.now(UTC) + timedelta(hours=1)}) == []


def test_bad_token_and_bad_filter_are_refused(family: list[Sandbox], server: Instance) -> None:
    with pytest.raises(SandboxException, match="400: Invalid next token"):
        Sandbox.list(next_token="nonsense").next_items()
    with httpx.Client(base_url=server.api_url, headers={"X-API-KEY": server.api_key}) as client:
        answer = client.get("/v2/sandboxes", params={"metadata": "no-equals-sign"})
        assert (answer.status_code, answer.json()["code"]) == (400, 400)
        assert "Error parsing metadata" in answer.json()["message"]
        assert client.get("/v2/sandboxes", params={"limit": "0"}).status_code == 400
        assert client.get("/v2/sandboxes", params={"limit": "101"}).status_code == 400


def test_headers_and_first_version(family: list[Sandbox], server: Instance) -> None:
    with httpx.Client(base_url=server.api_url, headers={"X-API-KEY": server.api_key}) as client:
        answer = client.get("/v2/sandboxes", params={"metadata": f"family={MARK}", "limit": "2", "state": "running"})
        assert answer.headers["X-Total-Running"] == "5"
        assert len(answer.json()) == 2
        assert "envdAccessToken" not in answer.json()[0]
        listed = client.get("/sandboxes", params={"metadata": f"family={MARK}"}).json()
        assert [item["sandboxID"] for item in listed] == [sandbox.sandbox_id for sandbox in reversed(family)]


def test_nobody_else_sees_them(family: list[Sandbox], server: Instance) -> None:
    with httpx.Client(base_url=server.api_url) as client:
        answer = client.get("/v2/sandboxes")
        assert (answer.status_code, answer.json()["code"]) == (401, 401)
