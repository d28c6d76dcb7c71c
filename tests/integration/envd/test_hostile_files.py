"""Files and trees made to hang, fill or confuse the agent (data-plane contract §3.6, §4.4, §4.5)."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.envd.driving import Agent

OCTETS = {"content-type": "application/octet-stream"}
SERVICE = "filesystem.Filesystem/"


def resident_bytes(agent: Agent) -> int:
    fields = Path(f"/proc/{agent.process.pid}/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()


def threads(agent: Agent) -> int:
    return len(os.listdir(f"/proc/{agent.process.pid}/task"))


def descriptors(agent: Agent) -> int:
    return len(os.listdir(f"/proc/{agent.process.pid}/fd"))


@pytest.fixture
def few_inodes(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "few"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=4", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


class TestDownload:
    @pytest.mark.parametrize("accept", ["identity", "gzip"])
    def test_pipes_and_sockets_are_refused_at_once(self, agent: Agent, tmp_path: Path, accept: str) -> None:
        os.mkfifo(tmp_path / "fifo")
        held = os.open(tmp_path / "fifo", os.O_RDWR)  # a writer that says nothing
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{tmp_path}/socket")
            for name in ("fifo", "socket"):
                status, _, body = agent.request("GET", f"/files?path={tmp_path}/{name}", headers={"accept-encoding": accept})
                assert (status, json.loads(body)["code"]) == (500, 500)
        os.close(held)

    def test_an_endless_device_takes_no_memory(self, agent: Agent) -> None:
        before = resident_bytes(agent)
        connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=20)
        connection.request("GET", "/files?path=/dev/zero", headers={"accept-encoding": "gzip"})
        answer = connection.getresponse()
        assert answer.status == 200
        for _ in range(20):
            answer.read(100_000)
        connection.close()
        assert resident_bytes(agent) - before < 8 << 20
        assert agent.request("GET", "/files?path=/dev/zero")[2] == b""

    def test_files_of_the_kernel(self, agent: Agent) -> None:
        """Their size is zero or a page, whatever they say: no answer may promise more than it has."""
        assert agent.request("GET", "/files?path=/sys/kernel/mm/transparent_hugepage/enabled")[::2][0] == 200
        assert (
            agent.request("GET", "/files?path=/sys/devices/system/cpu/online")[2].strip()
            == Path("/sys/devices/system/cpu/online").read_bytes().strip()
        )
        assert agent.request("GET", "/files?path=/proc/kmsg")[0] in (200, 500)
        assert agent.request("GET", "/files?path=/proc/self/mem")[0] in (200, 500)

    def test_a_file_that_shrinks_is_cut(self, agent: Agent, tmp_path: Path) -> None:
        path = tmp_path / "f"
        with path.open("wb") as file:
            file.truncate(512 << 20)
        with agent.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.sendall(f"GET /files?path={path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = connection.recv(4096)
            assert b"Content-Length: 536870912\r\n" in head
            os.truncate(path, 1000)
            received = len(head)
            try:
                while data := connection.recv(1 << 20):
                    received += len(data)
            except ConnectionResetError:
                pass
        assert received < 512 << 20

    def test_a_file_that_grows_keeps_its_length(self, agent: Agent, tmp_path: Path) -> None:
        path = tmp_path / "f"
        path.write_bytes(b"x" * (32 << 20))
        with agent.connect() as connection:
            connection.sendall(f"GET /files?path={path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            _, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            with path.open("ab") as file:
                file.write(b"y" * (8 << 20))
            received = len(body)
            while data := connection.recv(1 << 20):
                received += len(data)
                assert b"y" not in data
        assert received == 32 << 20

    def test_slow_readers_by_the_hundred_take_little(self, agent: Agent, tmp_path: Path) -> None:
        with (tmp_path / "f").open("wb") as file:
            file.truncate(1 << 30)
        before, open_before = resident_bytes(agent), descriptors(agent)
        readers = [agent.connect() for _ in range(200)]
        for reader in readers:
            reader.sendall(f"GET /files?path={tmp_path}/f HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for reader in readers:
            assert reader.recv(1)
        assert resident_bytes(agent) - before < 100 << 20
        assert agent.request("GET", "/health")[0] == 204
        for reader in readers:
            reader.close()
        deadline = time.monotonic() + 10
        while descriptors(agent) > open_before and time.monotonic() < deadline:
            time.sleep(0.02)
        assert descriptors(agent) <= open_before

    def test_conditions_and_ranges_that_are_nonsense(self, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"0123456789")
        (tmp_path / "empty").touch()
        target = f"/files?path={tmp_path}/f"
        assert agent.request("GET", target, headers={"range": "bytes=" + "9" * 5000 + "-"})[0] == 200
        assert agent.request("GET", target, headers={"range": "bytes=٣-".encode().decode("latin-1")})[0] == 200
        assert agent.request("GET", f"/files?path={tmp_path}/empty", headers={"range": "bytes=0-9"})[0] == 200
        assert agent.request("GET", target, headers={"if-none-match": "*"})[0] == 304
        assert agent.request("GET", target, headers={"if-match": '"x"'})[0] == 412
        assert agent.request("GET", target, headers={"if-unmodified-since": "Sun, 22 Nov 1998 21:36:42 GMT"})[0] == 412
        assert agent.request("GET", f"{target}&signature_expiration={'9' * 5000}")[0] == 400
        assert agent.request("GET", f"/files?path={tmp_path}/%00")[0] == 400
        assert agent.request("GET", f"/files?path={tmp_path}/{'x' * 300}")[0] == 500


class TestUpload:
    def test_no_inode_is_left(self, agent: Agent, few_inodes: Path) -> None:
        for number in range(6):
            status, _, body = agent.request("POST", f"/files?path={few_inodes}/{number}", b"x", OCTETS)
            if status != 200:
                break
        assert status == 507
        assert json.loads(body)["message"].startswith("not enough inodes available: ")

    def test_an_upload_cut_in_the_middle_stays_as_far_as_it_came(self, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("old content, which is longer")
        with agent.connect() as connection:
            head = (
                f"POST /files?path={tmp_path}/f HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 99\r\n\r\n"
            )
            connection.sendall(head.encode() + b"new")
            deadline = time.monotonic() + 10
            while (tmp_path / "f").read_text() != "new" and time.monotonic() < deadline:
                time.sleep(0.01)
        assert (tmp_path / "f").read_text() == "new"
        assert agent.request("GET", "/health")[0] == 204

    def test_a_small_body_that_unpacks_to_a_gigabyte(self, agent: Agent) -> None:
        bomb = gzip.compress(bytes(64 << 20)) * 16
        before = resident_bytes(agent)
        answers: list[int] = []
        headers = {**OCTETS, "content-encoding": "gzip"}
        sender = threading.Thread(target=lambda: answers.append(agent.request("POST", "/files?path=/dev/null", bomb, headers)[0]))
        sender.start()
        slowest = 0.0
        while sender.is_alive():
            begun = time.monotonic()
            assert agent.request("GET", "/health")[0] == 204
            slowest = max(slowest, time.monotonic() - begun)
        sender.join()
        assert answers == [200]
        assert resident_bytes(agent) - before < 16 << 20

    def test_devices_and_pipes(self, agent: Agent, tmp_path: Path) -> None:
        status, _, body = agent.request("POST", "/files?path=/dev/full", b"x", OCTETS)
        assert (status, json.loads(body)["message"]) == (507, "attempted to write 1 bytes: not enough disk space available")
        os.mkfifo(tmp_path / "fifo")
        assert agent.request("POST", f"/files?path={tmp_path}/fifo", b"x", OCTETS)[0] == 500
        (tmp_path / "loop").symlink_to("loop")
        assert agent.request("POST", f"/files?path={tmp_path}/loop", b"x", OCTETS)[0] == 500

    def test_metadata_at_its_limits(self, agent: Agent, tmp_path: Path) -> None:
        """§4.5: keys of 246 bytes, printable values, 4096 bytes in all, replaced as a whole."""
        target = f"/files?path={tmp_path}/f"
        key = "k" * 246
        headers = {**OCTETS, f"X-Metadata-{key.upper()}": " ~", "x-metadata-b": ""}
        status, _, body = agent.request("POST", target, b"x", headers)
        assert (status, json.loads(body)[0]["metadata"]) == (200, {key: "~", "b": ""})
        for bad in ({"x-metadata-" + "k" * 247: "v"}, {"x-metadata-a": "\x7f"}, {"x-metadata-a": "ü"}, {"x-metadata-a": "v" * 4096}):
            assert agent.request("POST", target, b"y", {**OCTETS, **bad})[0] == 400
        assert (tmp_path / "f").read_text() == "x"
        assert "metadata" not in json.loads(agent.request("POST", target, b"y", OCTETS)[2])[0]
        os.setxattr(tmp_path / "f", "user.e2b.binary", b"\xff")
        os.setxattr(tmp_path / "f", "user.e2b.text", b"t")
        assert agent.call(SERVICE + "Stat", {"path": f"{tmp_path}/f"})[1]["entry"]["metadata"] == {"text": "t"}


def make_deep(top: Path, levels: int) -> None:
    """A chain of directories far beyond what a path can name."""
    descriptor = os.open(top, os.O_RDONLY)
    for level in range(levels):
        os.mkdir("d" * 50, dir_fd=descriptor)
        inner = os.open("d" * 50, os.O_RDONLY, dir_fd=descriptor)
        if level % 100 == 0:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


class TestTrees:
    def test_a_tree_deeper_than_paths_reach_is_removed(self, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "tree").mkdir()
        make_deep(tmp_path / "tree", 3000)
        before = descriptors(agent)
        limits = resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (before + 200, limits[1]))
        try:
            assert agent.call(SERVICE + "Remove", {"path": f"{tmp_path}/tree/"}) == (200, {})
        finally:
            resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, limits)
        assert os.listdir(tmp_path) == []
        assert descriptors(agent) <= before + 2  # of connections on their way out

    def test_a_wide_tree_of_odd_names_is_removed_while_others_are_answered(self, agent: Agent, tmp_path: Path) -> None:
        top = os.fsencode(tmp_path) + b"/tree"
        for name in (b"\xff", b"new\nline", b" ", b"-rf", b"~", b"x" * 255):
            os.makedirs(top + b"/" + name + b"/" + name)
        for number in range(20_000):
            os.close(os.open(top + b"/%d" % number, os.O_CREAT | os.O_WRONLY))
        answers: list[tuple[int, object]] = []
        removing = threading.Thread(target=lambda: answers.append(agent.call(SERVICE + "Remove", {"path": f"{tmp_path}/tree"})))
        removing.start()
        while removing.is_alive():
            assert agent.request("GET", "/health")[0] == 204
        removing.join()
        assert (answers, os.listdir(tmp_path)) == ([(200, {})], [])

    def test_threads_end_when_the_work_does(self, agent: Agent, tmp_path: Path) -> None:
        for number in range(5000):
            (tmp_path / f"{number}").mkdir()
        agent.call(SERVICE + "Remove", {"path": str(tmp_path)})
        deadline = time.monotonic() + 10
        while threads(agent) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert threads(agent) == 1

    def test_what_cannot_be_removed_does_not_keep_the_rest(self, agent: Agent, tmp_path: Path) -> None:
        held = tmp_path / "tree" / "held"
        held.mkdir(parents=True)
        (tmp_path / "tree" / "other").touch()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", held], check=True)
        try:
            status, body = agent.call(SERVICE + "Remove", {"path": f"{tmp_path}/tree"})
        finally:
            subprocess.run(["umount", held], check=True)
        assert (status, body["code"]) == (500, "internal")
        assert body["message"].startswith("error removing file or directory: ")
        assert os.listdir(tmp_path / "tree") == ["held"]

    @pytest.mark.parametrize("path", ["/", "{0}/.", "{0}/..", "//"])
    def test_paths_that_name_no_entry_are_refused(self, agent: Agent, tmp_path: Path, path: str) -> None:
        (tmp_path / "f").touch()
        assert agent.call(SERVICE + "Remove", {"path": path.format(tmp_path)})[0] == 500
        assert (tmp_path / "f").exists()

    def test_a_slash_after_a_link_removes_the_link(self, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "dir").mkdir()
        (tmp_path / "dir" / "kept").touch()
        (tmp_path / "link").symlink_to("dir")
        assert agent.call(SERVICE + "Remove", {"path": f"{tmp_path}/link/"}) == (200, {})
        assert (os.listdir(tmp_path), os.listdir(tmp_path / "dir")) == (["dir"], ["kept"])

    def test_a_tree_is_not_moved_into_itself_nor_a_mount_at_all(self, agent: Agent, tmp_path: Path) -> None:
        inner = tmp_path / "tree" / "mounted"
        inner.mkdir(parents=True)
        (tmp_path / "tree" / "f").touch()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", inner], check=True)
        (inner / "kept").touch()
        try:
            for source, destination in (("tree", "tree/mounted/x"), ("tree/mounted", "elsewhere")):
                order = {"source": f"{tmp_path}/{source}", "destination": f"{tmp_path}/{destination}"}
                status, body = agent.call(SERVICE + "Move", order)
                assert (status, body["code"]) == (500, "internal")
            assert os.listdir(inner) == ["kept"]
        finally:
            subprocess.run(["umount", inner], check=True)
        assert sorted(os.listdir(tmp_path / "tree")) == ["f", "mounted"]

    def test_holes_stay_holes_across_filesystems(self, agent: Agent, tmp_path: Path) -> None:
        with (tmp_path / "sparse").open("wb") as file:
            file.truncate(100 << 30)
            file.seek(50 << 30)
            file.write(b"middle")
        target = Path(f"/dev/shm/envd-sparse-{os.getpid()}")
        try:
            assert agent.call(SERVICE + "Move", {"source": f"{tmp_path}/sparse", "destination": str(target)})[0] == 200
            assert (target.stat().st_size, target.stat().st_blocks < 100) == (100 << 30, True)
            with target.open("rb") as file:
                file.seek(50 << 30)
                assert file.read(6) == b"middle"
        finally:
            target.unlink(missing_ok=True)
