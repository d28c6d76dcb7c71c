"""Watching under pressure (data-plane contract §3.7): limits, floods, races, trees that come and go."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbank.envd.filesystem.events import MAX_PER_WATCH
from tests.integration.envd.driving import Agent, running_agent
from tests.product.instance import wait_until

SERVICE = "filesystem.Filesystem/"
MAX_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")


def create(agent: Agent, path: Path, **options: bool) -> dict[str, Any]:
    status, body = agent.call(SERVICE + "CreateWatcher", {"path": str(path), **options})
    assert status == 200, body
    watcher: dict[str, Any] = body
    return watcher


def poll(agent: Agent, watcher: dict[str, Any]) -> list[tuple[str, str]]:
    status, body = agent.call(SERVICE + "GetWatcherEvents", watcher)
    assert status == 200, body
    return [(event["type"].removeprefix("EVENT_TYPE_"), event["name"]) for event in body.get("events", [])]


def poll_until(agent: Agent, watcher: dict[str, Any], wanted: tuple[str, str]) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    deadline = time.monotonic() + 20
    while wanted not in seen:
        assert time.monotonic() < deadline, seen[-20:]
        seen += poll(agent, watcher)
    return seen


def inotify_instances(agent: Agent) -> int:
    directory = f"/proc/{agent.process.pid}/fd"
    return sum("inotify" in os.readlink(f"{directory}/{name}") for name in os.listdir(directory))


def test_thousands_of_watchers_share_one_instance_and_have_a_limit(tmp_path: Path) -> None:
    with running_agent() as agent:
        watchers = [create(agent, tmp_path) for _ in range(1000)]
        assert inotify_instances(agent) == 1
        (tmp_path / "f").touch()
        for watcher in (watchers[0], watchers[-1]):
            assert ("CREATE", "f") in poll_until(agent, watcher, ("CREATE", "f"))
        for _ in range(4096 - 1000):
            create(agent, tmp_path)
        status, body = agent.call(SERVICE + "CreateWatcher", {"path": str(tmp_path)})
        assert (status, body["code"]) == (429, "resource_exhausted")
        for watcher in watchers:
            agent.call(SERVICE + "RemoveWatcher", watcher)
        create(agent, tmp_path)


def test_the_last_watch_closes_the_instance(agent: Agent, tmp_path: Path) -> None:
    one, two = create(agent, tmp_path), create(agent, tmp_path, recursive=True)
    agent.call(SERVICE + "RemoveWatcher", one)
    (tmp_path / "f").touch()
    poll_until(agent, two, ("CREATE", "f"))
    agent.call(SERVICE + "RemoveWatcher", two)
    assert inotify_instances(agent) == 0


def test_a_client_that_does_not_poll_loses_its_watch_with_an_error(agent: Agent, tmp_path: Path) -> None:
    lazy, diligent = create(agent, tmp_path), create(agent, tmp_path)
    (tmp_path / "a").touch()
    names = [tmp_path / "a", tmp_path / "b"]
    for number in range(MAX_PER_WATCH // 2 + 100):
        names[number % 2].rename(names[1 - number % 2])
        if number % 1000 == 0:
            poll(agent, diligent)
    names[0].with_name("end").touch()
    poll_until(agent, diligent, ("CREATE", "end"))
    assert len(poll(agent, lazy)) == MAX_PER_WATCH
    status, body = agent.call(SERVICE + "GetWatcherEvents", lazy)
    assert (status, body["code"], body["message"]) == (500, "internal", "watcher error: fsnotify: queue or buffer overflow")
    for watcher in (lazy, diligent):
        assert agent.call(SERVICE + "RemoveWatcher", watcher)[0] == 200


@pytest.fixture
def few_watches() -> Iterator[int]:
    before = MAX_WATCHES.read_text()
    MAX_WATCHES.write_text("64")
    yield 64
    MAX_WATCHES.write_text(before)


def test_the_kernels_limit_is_told(agent: Agent, tmp_path: Path, few_watches: int) -> None:
    for number in range(few_watches + 10):
        (tmp_path / f"{number}").mkdir()
    status, body = agent.call(SERVICE + "CreateWatcher", {"path": str(tmp_path), "recursive": True})
    assert (status, body["code"]) == (429, "resource_exhausted")
    assert "fs.inotify.max_user_watches" in body["message"]
    events = agent.stream(SERVICE + "WatchDir", {"path": str(tmp_path), "recursive": True})
    assert events[-1]["error"]["code"] == "resource_exhausted"
    wait_until(lambda: inotify_instances(agent) == 0, "the instance closed")


def test_new_trees_are_seen_whole(agent: Agent, tmp_path: Path) -> None:
    """Directories made faster than they can be watched: each entry is told once."""
    watcher = create(agent, tmp_path, recursive=True)
    expected = set()
    for outer in range(30):
        for inner in range(10):
            directory = tmp_path / f"{outer}" / f"{inner}" / "deep"
            directory.mkdir(parents=True)
            (directory / "f").touch()
            expected |= {f"{outer}", f"{outer}/{inner}", f"{outer}/{inner}/deep", f"{outer}/{inner}/deep/f"}
    (tmp_path / "end").touch()
    seen = poll_until(agent, watcher, ("CREATE", "end"))
    deadline = time.monotonic() + 10
    while not expected <= {name for kind, name in seen if kind == "CREATE"} and time.monotonic() < deadline:
        seen += poll(agent, watcher)
    created = [name for kind, name in seen if kind == "CREATE"]
    assert sorted(created) == sorted({*expected, "end"})
    agent.call(SERVICE + "RemoveWatcher", watcher)


def test_what_is_told_once_is_told_again_when_it_happens_again(agent: Agent, tmp_path: Path) -> None:
    watcher = create(agent, tmp_path, recursive=True)
    for _ in range(3):
        (tmp_path / "dir").mkdir()
        (tmp_path / "dir" / "f").touch()
        poll_until(agent, watcher, ("CREATE", "dir/f"))
        (tmp_path / "dir" / "f").unlink()
        (tmp_path / "dir").rmdir()
        poll_until(agent, watcher, ("REMOVE", "dir"))
    agent.call(SERVICE + "RemoveWatcher", watcher)


def test_directories_that_move(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "watched" / "a" / "deep").mkdir(parents=True)
    (tmp_path / "outside" / "in").mkdir(parents=True)
    watcher = create(agent, tmp_path / "watched", recursive=True)
    (tmp_path / "watched" / "a").rename(tmp_path / "watched" / "b")
    poll_until(agent, watcher, ("CREATE", "b"))
    (tmp_path / "watched" / "b" / "deep" / "f").touch()
    poll_until(agent, watcher, ("CREATE", "b/deep/f"))
    (tmp_path / "outside").rename(tmp_path / "watched" / "c")
    poll_until(agent, watcher, ("CREATE", "c"))
    (tmp_path / "watched" / "c" / "in" / "g").touch()
    poll_until(agent, watcher, ("CREATE", "c/in/g"))
    (tmp_path / "watched" / "b").rename(tmp_path / "gone")
    poll_until(agent, watcher, ("RENAME", "b"))
    (tmp_path / "gone" / "deep" / "unseen").touch()
    (tmp_path / "watched" / "end").touch()
    assert not [name for _, name in poll_until(agent, watcher, ("CREATE", "end")) if "unseen" in name]
    agent.call(SERVICE + "RemoveWatcher", watcher)


def test_the_watched_directory_itself_goes(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    watcher = create(agent, tmp_path / "dir")
    (tmp_path / "dir").rmdir()
    assert ("REMOVE", ".") in poll_until(agent, watcher, ("REMOVE", "."))
    assert poll(agent, watcher) == []
    assert agent.call(SERVICE + "RemoveWatcher", watcher)[0] == 200


def test_a_tree_deeper_than_paths_reach_does_not_end_the_agent(agent: Agent, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("deep", dir_fd=descriptor)
        inner = os.open("deep", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    watcher = create(agent, tmp_path, recursive=True)
    (tmp_path / "deep" / "deep" / "f").touch()
    poll_until(agent, watcher, ("CREATE", "deep/deep/f"))
    agent.call(SERVICE + "RemoveWatcher", watcher)
    assert agent.call(SERVICE + "Remove", {"path": f"{tmp_path}/deep"}) == (200, {})


def test_entries_only_where_there_is_something(agent: Agent, tmp_path: Path) -> None:
    """§3.7: never on REMOVE and RENAME"""
    _, watcher = agent.call(SERVICE + "CreateWatcher", {"path": str(tmp_path), "includeEntry": True})
    (tmp_path / "a").touch()
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "b").unlink()
    events: list[dict[str, Any]] = []
    while not any(event["type"] == "EVENT_TYPE_REMOVE" for event in events):
        events += agent.call(SERVICE + "GetWatcherEvents", watcher)[1].get("events", [])
    assert not [event for event in events if event["type"] in ("EVENT_TYPE_REMOVE", "EVENT_TYPE_RENAME") and "entry" in event]
    agent.call(SERVICE + "RemoveWatcher", watcher)
