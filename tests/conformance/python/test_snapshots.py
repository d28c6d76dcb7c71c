"""Snapshots as templates by the official Python client (contract rest-api §9.1–§9.3, templates-and-data §2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from e2b import Sandbox
from e2b.exceptions import SandboxException

from tests.conformance.python.conftest import SandboxMaker

_COUNT = "i=0; while true; do i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/count; sleep 0.05; done"
Take = Callable[..., str]


@pytest.fixture
def take() -> Iterator[Take]:
    """Takes snapshots that are deleted after the test: ask for it first, sandboxes made of them have to be gone by then."""
    taken: list[str] = []

    def one(sandbox: Sandbox, name: str | None = None) -> str:
        taken.append(sandbox.create_snapshot(name).snapshot_id)
        return taken[-1]

    yield one
    for snapshot_id in taken:
        Sandbox.delete_snapshot(snapshot_id)


def _count(sandbox: Sandbox) -> int:
    return int(sandbox.files.read("/tmp/count"))


def test_sandboxes_made_of_one_go_on_where_it_was_taken_even_when_its_origin_is_gone(take: Take, make_sandbox: SandboxMaker) -> None:
    origin = make_sandbox(envs={"COLOUR": "red"}, metadata={"of": "origin"})
    counter = origin.commands.run(_COUNT, background=True)
    origin.files.write("/home/user/name", "origin")
    snapshot_id = take(origin)
    origin.files.write("/home/user/name", "changed since")
    at = _count(origin)
    origin.kill()
    copies = [make_sandbox(template=snapshot_id, envs={"SHAPE": "round"}) for _ in range(2)]
    assert len({origin.sandbox_id, *(copy.sandbox_id for copy in copies)}) == 3
    for number, copy in enumerate(copies):
        assert copy.files.read("/home/user/name") == "origin"
        assert counter.pid in {process.pid for process in copy.commands.list()}
        assert copy.commands.run("echo $E2B_SANDBOX_ID $COLOUR $SHAPE").stdout == f"{copy.sandbox_id} red round\n"
        assert copy.get_info().metadata == {}
        copy.commands.run(f"until [ $(cat /tmp/count) -gt {at} ]; do sleep 0.05; done")
        copy.files.write("/home/user/name", str(number))
    assert [copy.files.read("/home/user/name") for copy in copies] == ["0", "1"]


def test_a_name_gets_another_build_and_tags_tell_them_apart(take: Take, make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    for text in ("first", "second"):
        sandbox.files.write("/home/user/text", text)
        named = sandbox.create_snapshot("kept-state:" + text)
    snapshot_id = take(sandbox, "kept-state")
    assert named.snapshot_id.partition(":")[0] == snapshot_id.partition(":")[0]
    for text in ("first", "second"):
        copy = make_sandbox(template=f"kept-state:{text}")
        assert copy.files.read("/home/user/text") == text
        copy.kill()
    listed = Sandbox.list_snapshots(name="kept-state").next_items()
    assert [snapshot.snapshot_id.partition(":")[0] for snapshot in listed] == [snapshot_id.partition(":")[0]]


def test_lists_are_by_sandbox_and_in_pages(take: Take, make_sandbox: SandboxMaker) -> None:
    one, other = make_sandbox(), make_sandbox()
    taken = {take(one) for _ in range(3)}
    foreign = take(other)
    pages = Sandbox.list_snapshots(one.sandbox_id, limit=2)
    found = [snapshot.snapshot_id for snapshot in pages.next_items()]
    assert len(found) == 2
    assert pages.has_next
    found += [snapshot.snapshot_id for snapshot in pages.next_items()]
    assert set(found) == taken
    assert not pages.has_next
    everything: set[str] = set()
    pages = Sandbox.list_snapshots()
    while pages.has_next:
        everything |= {snapshot.snapshot_id for snapshot in pages.next_items()}
    assert {*taken, foreign} <= everything


def test_one_that_is_in_use_is_not_deleted_and_a_deleted_one_is_gone(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    snapshot_id = sandbox.create_snapshot().snapshot_id
    copy = make_sandbox(template=snapshot_id)
    with pytest.raises(SandboxException):
        Sandbox.delete_snapshot(snapshot_id)
    copy.pause()
    with pytest.raises(SandboxException):
        Sandbox.delete_snapshot(snapshot_id)
    Sandbox.connect(copy.sandbox_id)
    assert copy.commands.run("echo well").stdout == "well\n"
    copy.kill()
    assert Sandbox.delete_snapshot(snapshot_id) is True
    assert Sandbox.delete_snapshot(snapshot_id) is False
    with pytest.raises(SandboxException, match=f"template '{snapshot_id.partition(':')[0]}' not found"):
        Sandbox.create(snapshot_id)


def test_of_what_is_paused_or_gone_there_is_none(make_sandbox: SandboxMaker) -> None:
    sandbox = make_sandbox()
    sandbox.pause()
    for _ in ("paused", "gone"):
        with pytest.raises(SandboxException, match="not found"):
            sandbox.create_snapshot()
        sandbox.kill()
