"""URLs that carry their own permission to read or write one file."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import httpx
import pytest
from e2b import Sandbox

from tests.product.instance import Instance


def fetch(sandbox: Sandbox, url: str) -> httpx.Response:
    """GETs a signed URL; the sandbox is named by headers, as the SDK's `E2B_SANDBOX_URL` leaves it out of the URL."""
    return httpx.get(url, headers={"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "49983"})


def send(sandbox: Sandbox, url: str, name: str, content: bytes) -> httpx.Response:
    """POSTs a file to a signed URL as browsers do."""
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "49983"}
    return httpx.post(url, headers=headers, files={"file": (name, content)})


def test_download(sandbox: Sandbox, server: Instance) -> None:
    sandbox.files.write("signed.txt", "as the user")
    sandbox.files.write("signed.txt", "as root", user="root")
    assert fetch(sandbox, sandbox.download_url("signed.txt")).text == "as the user"
    assert fetch(sandbox, sandbox.download_url("signed.txt", use_signature_expiration=60)).text == "as the user"
    assert fetch(sandbox, sandbox.download_url("signed.txt", user="root")).text == "as root"


def test_upload(sandbox: Sandbox, server: Instance) -> None:
    answer = send(sandbox, sandbox.upload_url("up.txt"), "up.txt", b"content")
    assert (answer.status_code, answer.json()) == (200, [{"name": "up.txt", "path": "/home/user/up.txt", "type": "file"}])
    assert sandbox.files.read("up.txt") == "content"
    answer = send(sandbox, sandbox.upload_url("up.txt", user="root", use_signature_expiration=60), "up.txt", b"of root")
    assert answer.json() == [{"name": "up.txt", "path": "/root/up.txt", "type": "file"}]


def test_expired(sandbox: Sandbox, server: Instance) -> None:
    sandbox.files.write("signed.txt", "late")
    answer = fetch(sandbox, sandbox.download_url("signed.txt", use_signature_expiration=-120))
    assert (answer.status_code, answer.json()) == (401, {"code": 401, "message": "signature is already expired"})


@pytest.mark.parametrize(("key", "value"), [("path", "/etc/shadow"), ("username", "root"), ("signature", "v1_AAAA")])
def test_signature_holds_for_what_was_signed(sandbox: Sandbox, server: Instance, key: str, value: str) -> None:
    sandbox.files.write("signed.txt", "content")
    parts = urlsplit(sandbox.download_url("signed.txt"))
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | {key: value}
    assert fetch(sandbox, urlunsplit(parts._replace(query=urlencode(query)))).status_code == 401


def test_reading_is_not_writing(sandbox: Sandbox, server: Instance) -> None:
    sandbox.files.write("signed.txt", "content")
    assert send(sandbox, sandbox.download_url("signed.txt"), "signed.txt", b"overwritten").status_code == 401
    assert sandbox.files.read("signed.txt") == "content"
