"""The installation's keys for secrets."""

from __future__ import annotations

import base64
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbank.api.adapters.secret_keys import BackendError, KeyFile, SecretSealer, key_id, new_key, parse_keys
from sandbank.domain.errors import InvalidError


def test_keys_in_both_spellings() -> None:
    raw = os.urandom(32)
    url_safe = base64.urlsafe_b64encode(raw).decode()
    assert parse_keys(f"{raw.hex()},{base64.b64encode(raw).decode()}\n{url_safe}") == (raw, raw, raw)


@pytest.mark.parametrize("text", ["", " , ", "short", base64.b64encode(b"x" * 16).decode(), "ab" * 31, "ü" * 32])
def test_what_is_no_key_is_not_repeated(text: str) -> None:
    with pytest.raises(InvalidError) as raised:
        parse_keys(text)
    assert not text.strip(" ,") or text not in raised.value.message


def test_a_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: tuple(KeyFile(path).current()), range(8)))
    assert len(found) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secrets.key"]


def test_a_changed_file_is_seen(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "secrets.key")
    sealer = SecretSealer(file)
    old, sealed = file.current()[0], sealer.seal("x", b"c")
    other = KeyFile(tmp_path / "secrets.key")
    other.write([parse_keys(new_key())[0], old])
    assert sealer.key_id != key_id(old)
    assert sealer.open(sealed, b"c") == "x"


def test_a_file_that_others_can_read_or_that_is_broken_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    path.write_text(new_key())
    path.chmod(0o644)
    with pytest.raises(BackendError, match="Secrets backend error"):
        SecretSealer(KeyFile(path)).seal("x", b"")
    path.write_text("broken")
    path.chmod(0o600)
    with pytest.raises(BackendError, match="Secrets backend error"):
        SecretSealer(KeyFile(path)).seal("x", b"")
