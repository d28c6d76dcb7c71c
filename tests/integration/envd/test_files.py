"""File content over HTTP: what the SDK does not show."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from sandbank.envd.files.signature import sign
from tests.integration.envd.driving import Agent, running_agent

OCTETS = {"content-type": "application/octet-stream"}


def multipart(*parts: tuple[str, str, bytes]) -> tuple[bytes, dict[str, str]]:
    body = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'.encode() + data + b"\r\n"
        for name, filename, data in parts
    )
    return body + b"--b--\r\n", {"content-type": "multipart/form-data; boundary=b"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


class TestDownload:
    def test_headers(self, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "a b.txt").write_text("0123456789")
        status, headers, body = agent.request("GET", f"/files?path={quote(str(tmp_path))}/a%20b.txt")
        assert (status, body, headers["content-length"], headers["accept-ranges"]) == (200, b"0123456789", "10", "bytes")
        assert (headers["content-type"], headers["vary"]) == ("text/plain; charset=utf-8", "Accept-Encoding")
        assert headers["content-disposition"] == 'inline; filename="a b.txt"'
        (tmp_path / "ü").touch()
        _, headers, body = agent.request("GET", f"/files?path={quote(str(tmp_path))}/%C3%BC")
        assert (headers["content-disposition"], headers["content-length"], body) == ("inline; filename*=utf-8''%C3%BC", "0", b"")

    def test_parts_and_conditions(self, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("0123456789")
        target = f"/files?path={tmp_path}/f"
        status, headers, body = agent.request("GET", target, headers={"range": "bytes=2-4", "accept-encoding": "gzip"})
        assert (status, body, headers["content-range"]) == (206, b"234", "bytes 2-4/10")
        status, headers, _ = agent.request("GET", target, headers={"range": "bytes=10-"})
        assert (status, headers["content-range"]) == (416, "bytes */10")
        modified = agent.request("GET", target)[1]["last-modified"]
        assert agent.request("GET", target, headers={"if-modified-since": modified})[0] == 304
        assert agent.request("GET", target, headers={"range": "bytes=0-1", "if-range": modified})[0] == 206
        assert agent.request("GET", target, headers={"range": "bytes=0-1", "if-range": '"x"'})[0] == 200
        status, headers, body = agent.request("HEAD", target)
        assert (status, headers["content-length"], body) == (200, "10", b"")

    def test_gzip(self, agent: Agent, tmp_path: Path) -> None:
        content = os.urandom(1000) * 2000
        (tmp_path / "f.json").write_bytes(content)
        _, headers, body = agent.request("GET", f"/files?path={tmp_path}/f.json", headers={"accept-encoding": "gzip, deflate, br"})
        assert (headers["content-encoding"], headers["content-length"], headers["content-type"]) == ("gzip", None, "application/json")
        assert gzip.decompress(body) == content
        status, _, _ = agent.request("GET", f"/files?path={tmp_path}/f.json", headers={"accept-encoding": "br, identity;q=0"})
        assert status == 406

    @pytest.mark.parametrize(
        ("query", "status", "message"),
        [
            ("path={0}/no", 404, "path '{0}/no' does not exist"),
            ("path={0}", 400, "path '{0}' is a directory"),
            ("", 400, "path '/root' is a directory"),
            ("path=x&username=nope", 401, "error looking up user 'nope': user: unknown user nope"),
            ("path=~nope/x", 400, "failed to expand path '~nope/x' for user 'root': cannot expand user-specific home dir"),
        ],
    )
    def test_errors(self, agent: Agent, tmp_path: Path, query: str, status: int, message: str) -> None:
        answered, headers, body = agent.request("GET", f"/files?{query.format(tmp_path)}")
        assert (answered, json.loads(body)) == (status, {"code": status, "message": message.format(tmp_path)})
        assert headers["x-content-type-options"] == "nosniff"

    def test_a_pipe_does_not_block_the_agent(self, agent: Agent, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        assert agent.request("GET", f"/files?path={tmp_path}/fifo")[0] == 500
        assert agent.request("POST", f"/files?path={tmp_path}/fifo", b"x", OCTETS)[0] == 500

    def test_proc(self, agent: Agent) -> None:
        assert agent.request("GET", "/files?path=/proc/version")[2] == b""
        assert b"Linux" in gzip.decompress(agent.request("GET", "/files?path=/proc/version", headers={"accept-encoding": "gzip"})[2])


class TestUpload:
    def test_owner_mode_and_links(self, agent: Agent, tmp_path: Path) -> None:
        path = f"{tmp_path}/new/f"
        assert agent.request("POST", f"/files?path={path}&username=nobody", b"long text", OCTETS)[0] == 200
        assert ((tmp_path / "new" / "f").owner(), (tmp_path / "new").owner()) == ("nobody", "nobody")
        assert (tmp_path / "new" / "f").stat().st_mode & 0o777 == 0o644
        (tmp_path / "new" / "f").chmod(0o700)
        (tmp_path / "link").symlink_to("new/f")
        assert agent.request("POST", f"/files?path={tmp_path}/link", b"short", OCTETS)[0] == 200
        assert ((tmp_path / "new" / "f").read_text(), (tmp_path / "link").is_symlink()) == ("short", True)
        assert ((tmp_path / "new" / "f").owner(), (tmp_path / "new" / "f").stat().st_mode & 0o777) == ("root", 0o700)

    def test_parts(self, agent: Agent, tmp_path: Path) -> None:
        body, headers = multipart(("file", f"{tmp_path}/d/a", b"1"), ("other", "x", b"2"), ("file", f"{tmp_path}/b", b""))
        status, _, answer = agent.request("POST", "/files", body, headers)
        assert (status, [entry["path"] for entry in json.loads(answer)]) == (200, [f"{tmp_path}/d/a", f"{tmp_path}/b"])
        assert (tmp_path / "b").read_bytes() == b""
        body, headers = multipart(("other", "x", b"2"))
        assert agent.request("POST", "/files", body, headers)[::2] == (200, b"[]")

    def test_duplicates(self, agent: Agent, tmp_path: Path) -> None:
        body, headers = multipart(("file", f"{tmp_path}/a", b"1"), ("file", f"{tmp_path}/b", b"2"), ("file", f"{tmp_path}/a", b"3"))
        status, _, answer = agent.request("POST", "/files", body, headers)
        words = f"you cannot upload multiple files to the same path '{tmp_path}/a' in one upload request"
        words += ", only the first specified file was uploaded"
        assert (status, json.loads(answer)["message"]) == (400, f"{words}, also the following files were uploaded: {tmp_path}/b")
        assert (tmp_path / "a").read_text() == "1"

    def test_gzip(self, agent: Agent, tmp_path: Path) -> None:
        content = os.urandom(1000) * 3000
        headers = {**OCTETS, "content-encoding": "gzip"}
        body = gzip.compress(content[:7]) + gzip.compress(content[7:])
        assert agent.request("POST", f"/files?path={tmp_path}/f", body, headers)[0] == 200
        assert (tmp_path / "f").read_bytes() == content
        for broken in (b"", b"junk", gzip.compress(content)[:-10]):
            status, _, answer = agent.request("POST", f"/files?path={tmp_path}/g", broken, headers)
            assert status == 400
            assert json.loads(answer)["message"].startswith("error decompressing request body: ")

    @pytest.mark.parametrize(
        ("query", "headers", "status", "words"),
        [
            ("", OCTETS, 400, "path query parameter is required for raw body upload"),
            ("path={0}", OCTETS, 400, "path is a directory: {0}"),
            ("path={0}/x", {"content-type": "text/x"}, 400, "unsupported content type: text/x, expected multipart/form-data or"),
            ("path={0}/x", {**OCTETS, "content-encoding": "br"}, 400, "error decompressing request body: "),
            ("path={0}/x", {**OCTETS, "x-metadata-a": "x" * 5000}, 400, "invalid metadata: "),
            ("path={0}/x&username=nope", OCTETS, 401, "error looking up user 'nope'"),
            ("path=/etc/passwd/x", OCTETS, 500, "path is a file: /etc/passwd"),
        ],
    )
    def test_errors(self, agent: Agent, tmp_path: Path, query: str, headers: dict[str, str], status: int, words: str) -> None:
        answered, _, body = agent.request("POST", f"/files?{query.format(tmp_path)}", b"x", headers)
        assert answered == status
        assert json.loads(body)["message"].startswith(words.format(tmp_path))
        assert not (tmp_path / "x").exists()

    def test_a_full_disk(self, agent: Agent, small_disk: Path) -> None:
        status, _, body = agent.request("POST", f"/files?path={small_disk}/f", b"x" * 200_000, OCTETS)
        assert (status, json.loads(body)["message"]) == (507, "attempted to write 200000 bytes: not enough disk space available")
        pieces = (b"x" * 100_000 for _ in range(2))
        status, _, body = agent.request("POST", f"/files?path={small_disk}/g", pieces, OCTETS)
        assert (status, json.loads(body)["message"]) == (507, "not enough disk space available")


def test_signatures(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("signed")
    with running_agent(access_token="tok") as agent:

        def url(operation: str, expiration: int | None = None) -> str:
            signature = sign(f"{tmp_path}/f", "read" if operation == "read" else "write", "root", "tok", expiration)
            suffix = "" if expiration is None else f"&signature_expiration={expiration}"
            return f"/files?path={quote(str(tmp_path))}/f&username=root&signature={quote(signature, safe='')}{suffix}"

        assert agent.request("GET", url("read"))[::2] == (200, b"signed")
        assert agent.request("GET", url("read", int(time.time()) + 60))[0] == 200
        status, _, body = agent.request("GET", url("read", int(time.time()) - 60))
        assert (status, json.loads(body)) == (401, {"code": 401, "message": "signature is already expired"})
        status, _, body = agent.request("GET", url("write"))
        assert (status, json.loads(body)["message"]) == (401, "invalid signature")
        body, headers = multipart(("file", "ignored", b"new"))
        assert agent.request("POST", url("write"), body, headers)[0] == 200
        assert (tmp_path / "f").read_text() == "new"
        status, _, body = agent.request("GET", url("read"), headers={"x-access-token": "wrong"})
        assert json.loads(body)["message"] == "access token present in header but does not match"
