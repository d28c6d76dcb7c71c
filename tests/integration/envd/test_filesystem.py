"""The filesystem service: what the SDK does not show."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.envd.driving import Agent, Stream

SERVICE = "filesystem.Filesystem/"


def call(agent: Agent, method: str, **message: Any) -> tuple[int, Any]:
    return agent.call(SERVICE + method, message)


@pytest.fixture
def other_filesystem(tmp_path: Path) -> Iterator[Path]:
    """A directory that a rename cannot reach from `tmp_path`."""
    path = Path("/dev/shm") / f"envd-{os.getpid()}-{tmp_path.name}"
    path.mkdir()
    assert path.stat().st_dev != tmp_path.stat().st_dev
    yield path
    os.system(f"rm -rf {path}")


class TestStat:
    def test_links(self, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "dir").mkdir()
        (tmp_path / "good").symlink_to("dir")
        (tmp_path / "broken").symlink_to("nowhere")
        (tmp_path / "loop").symlink_to("loop")
        good = call(agent, "Stat", path=f"{tmp_path}/good")[1]["entry"]
        assert (good["type"], good["permissions"], good["mode"]) == ("FILE_TYPE_DIRECTORY", "Lrwxrwxrwx", 0o755)
        assert (good["symlinkTarget"], good["isSymlink"]) == (f"{tmp_path}/dir", True)
        for name in ("broken", "loop"):
            entry = call(agent, "Stat", path=f"{tmp_path}/{name}")[1]["entry"]
            assert (entry.get("type"), entry.get("mode"), entry["symlinkTarget"]) == (None, None, f"{tmp_path}/{name}")

    def test_other_kinds_and_names(self, agent: Agent, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).touch()
        assert "type" not in call(agent, "Stat", path=f"{tmp_path}/fifo")[1]["entry"]
        names = [entry["name"] for entry in call(agent, "ListDir", path=str(tmp_path))[1]["entries"]]
        assert names == ["fifo", "\ufffd"]

    def test_missing(self, agent: Agent, tmp_path: Path) -> None:
        status, body = call(agent, "Stat", path=f"{tmp_path}/no")
        assert (status, body["code"]) == (404, "not_found")
        assert body["message"].startswith("file not found: ")

    def test_home_and_workdir(self, agent: Agent) -> None:
        assert call(agent, "Stat", path="~")[1]["entry"]["path"] == "/root"
        assert call(agent, "Stat", path="")[1]["entry"]["path"] == "/root"
        assert call(agent, "Stat", path="~nobody")[1]["code"] == "invalid_argument"
        assert call(agent, "Stat", path="a\0b")[1]["code"] == "invalid_argument"


class TestListDir:
    def test_order_depth_and_links(self, agent: Agent, tmp_path: Path) -> None:
        for name in ("b/deep/er", "a", "B"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "b.txt").touch()
        (tmp_path / "link").symlink_to("b")

        def names(depth: int, path: str) -> list[str]:
            return [entry["path"].removeprefix(f"{path}/") for entry in call(agent, "ListDir", path=path, depth=depth)[1]["entries"]]

        assert names(0, str(tmp_path)) == names(1, str(tmp_path)) == ["B", "a", "b", "b.txt", "link"]
        assert names(3, str(tmp_path)) == ["B", "a", "b", "b/deep", "b/deep/er", "b.txt", "link"]
        assert names(1, f"{tmp_path}/link") == ["deep"]

    def test_errors(self, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "loop").symlink_to("loop")
        assert call(agent, "ListDir", path=f"{tmp_path}/no")[1]["code"] == "not_found"
        assert call(agent, "ListDir", path=f"{tmp_path}/file")[1]["message"] == f"path is not a directory: {tmp_path}/file"
        assert call(agent, "ListDir", path=f"{tmp_path}/loop")[1]["code"] == "failed_precondition"
        (tmp_path / "empty").mkdir()
        assert call(agent, "ListDir", path=f"{tmp_path}/empty") == (200, {})


class TestMakeDir:
    def test_owner_and_conflicts(self, agent: Agent, tmp_path: Path) -> None:
        status, _ = agent.call(SERVICE + "MakeDir", {"path": f"{tmp_path}/a/b"}, authorization="Basic bm9ib2R5Og==")
        assert status == 200
        assert [(tmp_path / name).owner() for name in ("a", "a/b")] == ["nobody", "nobody"]
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755
        status, body = call(agent, "MakeDir", path=f"{tmp_path}/a")
        assert (status, body) == (409, {"code": "already_exists", "message": f"directory already exists: {tmp_path}/a"})
        (tmp_path / "file").touch()
        assert call(agent, "MakeDir", path=f"{tmp_path}/file")[1]["code"] == "invalid_argument"
        assert call(agent, "MakeDir", path=f"{tmp_path}/file/x/y")[1]["code"] == "internal"


class TestMove:
    def test_into_new_directories(self, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("x")
        status, body = call(agent, "Move", source=f"{tmp_path}/a", destination=f"{tmp_path}/new/dir/b")
        assert (status, body["entry"]["path"]) == (200, f"{tmp_path}/new/dir/b")
        assert call(agent, "Move", source=f"{tmp_path}/a", destination=f"{tmp_path}/c")[1]["code"] == "not_found"

    def test_across_filesystems(self, agent: Agent, tmp_path: Path, other_filesystem: Path) -> None:
        source = tmp_path / "tree"
        (source / "sub").mkdir(parents=True)
        (source / "sub" / "f").write_bytes(b"content" * 100_000)
        os.link(source / "sub" / "f", source / "hard")
        (source / "link").symlink_to("sub/f")
        os.mkfifo(source / "fifo")
        os.chown(source / "sub" / "f", 65534, 65534)
        os.chmod(source / "sub" / "f", 0o4750)
        os.chmod(source / "sub", 0o1777)
        os.setxattr(source / "sub" / "f", "user.e2b.k", b"v")
        os.utime(source / "sub", ns=(1_000_000_000, 2_000_000_000))
        target = other_filesystem / "moved"
        assert call(agent, "Move", source=str(source), destination=str(target))[0] == 200
        assert not source.exists()
        assert (target / "sub" / "f").read_bytes() == b"content" * 100_000
        moved = (target / "sub" / "f").stat()
        assert (moved.st_uid, moved.st_gid, stat.S_IMODE(moved.st_mode), moved.st_nlink) == (65534, 65534, 0o4750, 2)
        assert os.readlink(target / "link") == "sub/f"
        assert stat.S_ISFIFO((target / "fifo").stat().st_mode)
        assert os.getxattr(target / "sub" / "f", "user.e2b.k") == b"v"
        assert ((target / "sub").stat().st_mtime_ns, stat.S_IMODE((target / "sub").stat().st_mode)) == (2_000_000_000, 0o1777)
        assert os.listdir(other_filesystem) == ["moved"]

    def test_across_filesystems_onto_something(self, agent: Agent, tmp_path: Path, other_filesystem: Path) -> None:
        (tmp_path / "file").write_text("new")
        (tmp_path / "tree").mkdir()
        (other_filesystem / "file").write_text("old")
        (other_filesystem / "full" / "x").mkdir(parents=True)
        assert call(agent, "Move", source=f"{tmp_path}/file", destination=f"{other_filesystem}/file")[0] == 200
        assert (other_filesystem / "file").read_text() == "new"
        status, body = call(agent, "Move", source=f"{tmp_path}/tree", destination=f"{other_filesystem}/full")
        assert (status, body["code"]) == (500, "internal")
        assert body["message"].startswith("error renaming: ")
        assert (tmp_path / "tree").is_dir()


def test_remove_does_not_follow_links(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "f").touch()
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    (tmp_path / "tree" / "link").symlink_to("../kept")
    assert call(agent, "Remove", path=f"{tmp_path}/tree") == (200, {})
    assert call(agent, "Remove", path=f"{tmp_path}/tree") == (200, {})
    assert os.listdir(tmp_path) == ["kept"]
    assert (tmp_path / "kept" / "f").exists()


class TestWatch:
    def collect(self, stream: Stream, until: tuple[str, str]) -> list[tuple[str, str]]:
        seen: list[tuple[str, str]] = []
        while until not in seen:
            event = stream.next()["filesystem"]
            seen.append((event["type"].removeprefix("EVENT_TYPE_"), event["name"]))
        return seen

    def test_every_kind(self, agent: Agent, tmp_path: Path) -> None:
        with agent.open_stream(SERVICE + "WatchDir", {"path": str(tmp_path)}) as stream:
            assert stream.next() == {"start": {}}
            (tmp_path / "a").write_text("x")
            (tmp_path / "a").chmod(0o600)
            (tmp_path / "a").rename(tmp_path / "b")
            (tmp_path / "b").unlink()
            seen = self.collect(stream, ("REMOVE", "b"))
        assert seen == [("CREATE", "a"), ("WRITE", "a"), ("CHMOD", "a"), ("RENAME", "a"), ("CREATE", "b"), ("REMOVE", "b")]

    def test_recursive_with_entries(self, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "old").mkdir()
        request = {"path": str(tmp_path), "recursive": True, "includeEntry": True}
        with agent.open_stream(SERVICE + "WatchDir", request) as stream:
            stream.next()
            (tmp_path / "old" / "f").touch()
            event = stream.next()["filesystem"]
            assert (event["name"], event["entry"]["path"], event["entry"]["type"]) == ("old/f", f"{tmp_path}/old/f", "FILE_TYPE_FILE")
            (tmp_path / "new" / "deep").mkdir(parents=True)
            (tmp_path / "new" / "deep" / "g").write_text("x")
            seen = self.collect(stream, ("WRITE", "new/deep/g"))
            assert seen.count(("CREATE", "new")) == seen.count(("CREATE", "new/deep")) == seen.count(("CREATE", "new/deep/g")) == 1
            (tmp_path / "new").rename(tmp_path / "moved")
            self.collect(stream, ("CREATE", "moved"))
            (tmp_path / "moved" / "deep" / "h").touch()
            self.collect(stream, ("CREATE", "moved/deep/h"))

    def test_not_recursive(self, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        with agent.open_stream(SERVICE + "WatchDir", {"path": str(tmp_path)}) as stream:
            stream.next()
            (tmp_path / "sub" / "unseen").touch()
            (tmp_path / "seen").touch()
            assert self.collect(stream, ("CREATE", "seen")) == [("CREATE", "seen")]

    def test_errors_and_deadline(self, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for name, code in (("no", "not_found"), ("file", "invalid_argument")):
            assert agent.stream(SERVICE + "WatchDir", {"path": f"{tmp_path}/{name}"})[0]["error"]["code"] == code
            assert call(agent, "CreateWatcher", path=f"{tmp_path}/{name}")[1]["code"] == code
        events = agent.stream(SERVICE + "WatchDir", {"path": str(tmp_path)}, connect_timeout_ms="100")
        assert events[-1]["error"]["code"] == "deadline_exceeded"

    def test_polled(self, agent: Agent, tmp_path: Path) -> None:
        watcher = call(agent, "CreateWatcher", path=str(tmp_path))[1]
        assert watcher["watcherId"].startswith("w")
        assert len(watcher["watcherId"]) == 21
        (tmp_path / "f").touch()
        events: list[Any] = []
        while not events:
            events = call(agent, "GetWatcherEvents", **watcher)[1].get("events", [])
        assert events[0] == {"name": "f", "type": "EVENT_TYPE_CREATE"}
        assert call(agent, "RemoveWatcher", **watcher) == (200, {})
        status, body = call(agent, "GetWatcherEvents", **watcher)
        assert (status, body["message"]) == (404, f"watcher with id {watcher['watcherId']} not found")
