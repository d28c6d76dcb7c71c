"""curl in all its manners of speaking (contract data-plane §7.3)."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from e2b import Sandbox

from tests.conformance.domain.clients import Address

MANNERS = {
    "HTTP/1.1": ("http", ["--http1.1"]),
    "HTTP/2 by prior knowledge": ("http", ["--http2-prior-knowledge"]),
    "HTTP/2 by upgrade": ("http", ["--http2"]),
    "HTTP/1.1 in TLS": ("https", ["--http1.1"]),
    "HTTP/2 in TLS": ("https", ["--http2"]),
}


@pytest.fixture(params=list(MANNERS))
def curl(request: pytest.FixtureRequest, address: Address) -> list[str]:
    """The program with its options; the last one is the scheme, for the URL."""
    scheme, options = MANNERS[request.param]
    return [scheme, "curl", "--silent", "--show-error", "--fail-with-body", "--cacert", str(address.authority), *options]


def run(curl: list[str], url: str, *options: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run([*curl[1:], *options, f"{curl[0]}://{url}"], input=stdin, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode(errors="replace")[:500]
    return done.stdout


def test_get_and_head(curl: list[str], web: Sandbox) -> None:
    assert run(curl, f"{web.get_host(8002)}/x?y=z").startswith(b"path=/x?y=z host=")
    assert b"content-length: 12345" in run(curl, f"{web.get_host(8002)}/", "--head").lower()


def test_uploads_of_both_kinds(curl: list[str], web: Sandbox, tmp_path: Path) -> None:
    """With a length, for which curl first asks for leave (100-continue), and chunked."""
    data = os.urandom(5_000_000)
    (tmp_path / "data").write_bytes(data)
    expected = f"{hashlib.sha256(data).hexdigest()} {len(data)}".encode()
    url = f"{web.get_host(8002)}/"
    assert run(curl, url, "--header", "Expect: 100-continue", "--data-binary", f"@{tmp_path / 'data'}") == expected
    assert run(curl, url, "--request", "POST", "--upload-file", "-", stdin=data) == expected


def test_files_by_ranges(curl: list[str], web: Sandbox, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    web.files.write("/home/user/ranged", data)
    url = f"{web.get_host(49983)}/files?path=/home/user/ranged"
    token = ["--header", f"X-Access-Token: {web._envd_access_token}"]
    assert run(curl, url, *token) == data
    assert run(curl, url, *token, "--range", "1000-1999") == data[1000:2000]
    target = tmp_path / "resumed"
    target.write_bytes(data[:1_000_000])
    run(curl, url, *token, "--continue-at", "-", "--output", str(target))
    assert target.read_bytes() == data


def test_answers_stream(curl: list[str], web: Sandbox) -> None:
    assert run(curl, f"{web.get_host(8002)}/stream", "--no-buffer") == b"event 0event 1event 2"


def test_a_broken_answer_is_an_error(curl: list[str], web: Sandbox) -> None:
    """Cut hard, never ended in order (contract data-plane §6.3)."""
    done = subprocess.run([*curl[1:], f"{curl[0]}://{web.get_host(8002)}/cut"], capture_output=True, timeout=60, check=False)
    assert done.returncode in (18, 56, 92), done
