"""Artefacts in a bucket, by S3's own protocol (design: artefacts)."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from sandbank.artifacts.exchange import SNAPSHOT, Description, Exchange, Part
from sandbank.artifacts.remote import Remote
from sandbank.artifacts.unreferenced import UnreferencedParts
from sandbank.domain.errors import UnavailableError


class _Bucket(BaseHTTPRequestHandler):
    """As much of S3 as is asked of it: objects, ranges, uploads in parts, lists."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    uploads: dict[str, dict[int, bytes]]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(body)),
            "ETag": '"e"',
            "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _asked(self) -> tuple[str, dict[str, list[str]], bytes]:
        parts = urlsplit(self.path)
        return (
            unquote(parts.path),
            parse_qs(parts.query, keep_blank_values=True),
            self.rfile.read(int(self.headers.get("Content-Length", 0))),
        )

    def do_PUT(self) -> None:
        key, query, body = self._asked()
        if "partNumber" in query:
            self.uploads.setdefault(key, {})[int(query["partNumber"][0])] = body
        else:
            self.objects[key] = body
        self._answer(200)

    def do_POST(self) -> None:
        key, query, body = self._asked()
        if "delete" in query:
            gone = re.findall(r"<Key>(.*?)</Key>", body.decode())
            for name in gone:
                self.objects.pop(f"{key}/{name}", None)
            said = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in gone)
            self._answer(200, f"<DeleteResult>{said}</DeleteResult>".encode())
        elif "uploads" in query:
            self._answer(200, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
        else:
            self.objects[key] = b"".join(body for _, body in sorted(self.uploads.pop(key).items()))
            self._answer(200, b'<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>')

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        key, query, _ = self._asked()
        if "list-type" in query:
            prefix = f"{key.rstrip('/')}/{query['prefix'][0]}"
            keys = "".join(
                f'<Contents><Key>{name.removeprefix(key.rstrip("/") + "/")}</Key><Size>{len(body)}</Size><ETag>"e"</ETag>'
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                for name, body in sorted(self.objects.items())
                if name.startswith(prefix)
            )
            self._answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{keys}</ListBucketResult>".encode())
        elif key not in self.objects:
            self._answer(404)
        elif (wanted := self.headers.get("Range")) is not None:
            start, end = map(int, wanted.removeprefix("bytes=").split("-"))
            body = self.objects[key]
            self._answer(206, body[start : end + 1], **{"Content-Range": f"bytes {start}-{end}/{len(body)}"})
        else:
            self._answer(200, self.objects[key])

    def do_DELETE(self) -> None:
        self.objects.pop(self._asked()[0], None)
        self._answer(204)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    objects: dict[str, bytes] = {}
    handler = type("Bucket", (_Bucket,), {"objects": objects, "uploads": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        credentials = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "c"}
        for name, value in {**credentials, "AWS_ENDPOINT": endpoint, "AWS_ALLOW_HTTP": "true"}.items():
            monkeypatch.setenv(name, value)
        yield objects
        server.shutdown()
        thread.join()


def test_a_build_goes_into_a_bucket_and_comes_back_and_is_removed(bucket: dict[str, bytes], tmp_path: Path) -> None:
    files, back = tmp_path / "files", tmp_path / "back"
    files.mkdir()
    back.mkdir()
    content = bytes(range(256)) * 1024 + os.urandom(20 << 20)
    (files / "large").write_bytes(content)
    remote = Remote.open("s3://bucket/prefix")
    exchange = Exchange(remote)
    assert exchange.find("b") is None
    exchange.store("b", Description(SNAPSHOT, {}, (Part("layers/l", files), Part("data", files))))
    assert {key.split("/")[3] for key in bucket} == {"builds", "layers", "snapshots"}
    manifest = exchange.find("b")
    assert manifest is not None
    exchange.fetch(manifest, "data", back)
    assert (back / "large").read_bytes() == content
    assert (exchange.list(), exchange.list_snapshots()) == ({"b"}, {"b"})
    exchange.remove("b")
    parts = UnreferencedParts(exchange, remote)
    assert (parts.sweep(), parts.sweep()) == (0, 1)
    assert bucket == {}


def test_a_bucket_that_nobody_answers_for_is_an_error_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(UnavailableError, match=r"builds/b\.json could not be read"):
        Exchange(Remote.open("s3://bucket/prefix")).find("b")
