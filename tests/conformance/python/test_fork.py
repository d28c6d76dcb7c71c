"""Forking by the official Python client (contract rest-api §9.4)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2b import Sandbox
from e2b.exceptions import SandboxException

from tests.conformance.python.conftest import SandboxMaker

_COUNT = "i=0; while true; do i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/count; sleep 0.05; done"


@pytest.fixture
def forks() -> Iterator[list[Sandbox]]:
    made: list[Sandbox] = []
    yield made
    for fork in made:
        fork.kill()


def _fork(parent: Sandbox, forks: list[Sandbox], count: int = 1) -> list[Sandbox]:
    for result in parent.fork(count=count, timeout=120):
        assert isinstance(result, Sandbox), result
        forks.append(result)
    return forks


def test_forks_go_on_where_the_parent_is_and_on_their_own(make_sandbox: SandboxMaker, forks: list[Sandbox]) -> None:
    parent = make_sandbox(metadata={"of": "parent"})
    counter = parent.commands.run(_COUNT, background=True)
    parent.files.write("/home/user/name", "parent")
    _fork(parent, forks, count=3)
    assert len({fork.sandbox_id for fork in (parent, *forks)}) == 4
    for number, fork in enumerate(forks):
        assert fork.files.read("/home/user/name") == "parent"
        assert fork.commands.run("echo $E2B_SANDBOX_ID").stdout == f"{fork.sandbox_id}\n"
        assert counter.pid in {process.pid for process in fork.commands.list()}
        first = int(fork.files.read("/tmp/count"))
        assert int(fork.commands.run("sleep 0.5; cat /tmp/count").stdout) > first > 0
        fork.files.write("/home/user/name", f"fork {number}")
        assert fork.get_info().metadata == {"of": "parent"}
    assert [fork.files.read("/home/user/name") for fork in forks] == ["fork 0", "fork 1", "fork 2"]
    assert parent.files.read("/home/user/name") == "parent"
    before = int(parent.files.read("/tmp/count"))
    assert int(parent.commands.run("sleep 0.5; cat /tmp/count").stdout) > before


def test_a_fork_of_a_fork_that_was_paused(make_sandbox: SandboxMaker, forks: list[Sandbox]) -> None:
    parent = make_sandbox()
    parent.files.write("/home/user/name", "parent")
    (fork,) = _fork(parent, forks)
    fork.pause()
    with pytest.raises(SandboxException, match="is paused and cannot be forked; resume it first"):
        fork.fork()
    Sandbox.connect(fork.sandbox_id, timeout=120)
    grandchild = _fork(fork, forks)[-1]
    assert grandchild.files.read("/home/user/name") == "parent"
