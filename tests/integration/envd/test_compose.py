"""`POST /files/compose` (data-plane contract §4.6)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.envd.driving import Agent, running_agent


def compose(agent: Agent, sources: list[str], destination: str, **more: Any) -> tuple[int, Any]:
    body = json.dumps({"source_paths": sources, "destination": destination, **more})
    status, _, answer = agent.request("POST", "/files/compose", body, {"content-type": "application/json"})
    return status, json.loads(answer)


@pytest.fixture
def parts(tmp_path: Path) -> list[str]:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name * 3)
    return [f"{tmp_path}/{name}" for name in ("a", "b", "c")]


def test_parts_become_one_file_in_order_and_go(agent: Agent, tmp_path: Path, parts: list[str]) -> None:
    destination = tmp_path / "new" / "whole"
    status, answer = compose(agent, parts, str(destination), username="nobody")
    assert (status, answer) == (200, {"path": str(destination), "name": "whole", "type": "file"})
    assert destination.read_text() == "aaabbbccc"
    assert (destination.owner(), destination.parent.owner(), destination.stat().st_mode & 0o777) == ("nobody", "nobody", 0o644)
    assert (os.listdir(tmp_path), os.listdir(destination.parent)) == (["new"], ["whole"])


def test_the_destination_is_replaced_and_a_part_may_come_twice(agent: Agent, tmp_path: Path, parts: list[str]) -> None:
    (tmp_path / "old").write_text("old")
    assert compose(agent, [parts[0], parts[1], parts[0]], f"{tmp_path}/old")[0] == 200
    assert (tmp_path / "old").read_text() == "aaabbbaaa"
    assert sorted(os.listdir(tmp_path)) == ["c", "old"]


@pytest.mark.parametrize(
    ("sources", "destination", "more", "status", "message"),
    [
        ([], "{0}/x", {}, 400, "source_paths must not be empty"),
        (["{0}/a"], "", {}, 400, "destination is required"),
        (["{0}/a", "{0}/x"], "{0}/x", {}, 404, "source file not found: {0}/x"),
        (["{0}/a"], "{0}/a", {}, 400, "source path must not equal the destination: {0}/a"),
        (["{0}/link"], "{0}/a", {}, 400, "source path must not equal the destination: {0}/link"),
        (["{0}/fifo"], "{0}/x", {}, 400, "source path is not a regular file: {0}/fifo"),
        (["{0}"], "{0}/x", {}, 400, "source path is not a regular file: {0}"),
        (["/dev/zero"], "{0}/x", {}, 400, "source path is not a regular file: /dev/zero"),
        (["{0}/a"], "{0}/x", {"username": "nope"}, 401, "error looking up user 'nope': user: unknown user nope"),
        (["~nope/a"], "{0}/x", {}, 400, "failed to expand path '~nope/a' for user 'root': cannot expand user-specific home dir"),
        (["{0}/a", "{0}/no"], "{0}/x", {}, 404, "source file not found: {0}/no"),
        (["{0}/a"], "{0}", {}, 400, "path is a directory: {0}"),
    ],
)
def test_refusals_change_nothing(
    agent: Agent,
    tmp_path: Path,
    parts: list[str],
    sources: list[str],
    destination: str,
    more: dict[str, Any],
    status: int,
    message: str,
) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("a")
    before = sorted(os.listdir(tmp_path))
    answered = compose(agent, [one.format(tmp_path) for one in sources], destination.format(tmp_path), **more)
    assert answered == (status, {"code": status, "message": message.format(tmp_path)})
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"source_paths":"a","destination":"b"}', b'{"source_paths":["\\ud800"],"destination":"b"}']
)
def test_bodies_that_are_no_order(agent: Agent, body: bytes) -> None:
    status, _, answer = agent.request("POST", "/files/compose", body)
    assert (status, json.loads(answer)["code"]) == (400, 400)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def test_a_full_disk_leaves_the_parts_and_no_rest(agent: Agent, tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 200_000)
    status, answer = compose(agent, [f"{tmp_path}/large"], f"{small_disk}/whole")
    assert (status, answer["message"]) == (507, "not enough disk space available")
    assert ((tmp_path / "large").exists(), os.listdir(small_disk)) == (True, [])


def test_it_is_not_exempt_from_the_token(tmp_path: Path) -> None:
    """§4.1: unlike GET and POST /files"""
    with running_agent(access_token="tok") as agent:
        status, _, answer = agent.request("POST", "/files/compose", b"{}")
        assert (status, json.loads(answer)["message"].split(",")[0]) == (401, "unauthorized access")
        assert agent.request("POST", "/files/compose", b"{}", {"x-access-token": "tok"})[0] == 400
