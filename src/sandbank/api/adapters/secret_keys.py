"""The installation's keys for secrets, and sealing with them: AES-256-GCM, a fresh key for each value, wrapped by the first of these."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sandbank.api.core.team_secrets import Sealed
from sandbank.domain.errors import InternalError, InvalidError

_KEY_BYTES = 32
_NONCE_BYTES = 12
_HEX = re.compile(r"[0-9a-fA-F]{64}")

_log = structlog.get_logger(__name__)


class BackendError(InternalError):
    """A value cannot be encrypted or decrypted; why is in the log and nobody else's business."""


def new_key() -> str:
    """A key as it is written into settings and files."""
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()


def parse_keys(text: str) -> tuple[bytes, ...]:
    """Keys between commas or white space, the first one for sealing: 32 bytes each, in base64 or as 64 hexadecimal digits.

    `InvalidError`, which does not repeat them, for anything else.
    """
    keys = tuple(_parse(word) for word in text.replace(",", " ").split())
    if not keys:
        raise InvalidError("there is no key for secrets")
    return keys


def _parse(word: str) -> bytes:
    try:
        raw = bytes.fromhex(word) if _HEX.fullmatch(word) else base64.b64decode(word, altchars=b"-_" if set(word) & set("-_") else None)
    except (ValueError, binascii.Error) as error:
        raise InvalidError("a key for secrets is neither base64 nor hexadecimal") from error
    if len(raw) != _KEY_BYTES:
        raise InvalidError(f"a key for secrets has {len(raw)} bytes and not {_KEY_BYTES}")
    return raw


def key_id(key: bytes) -> str:
    """A name for a key that says nothing of it."""
    return hashlib.sha256(b"sandbank secrets key " + key).hexdigest()[:16]


class FixedKeys:
    """Keys from a setting."""

    def __init__(self, text: str) -> None:
        self._keys = parse_keys(text)

    def current(self) -> Sequence[bytes]:
        """The first seals."""
        return self._keys


class KeyFile:
    """Keys in a file, a line each, which is made, for its owner only, with the first value that is sealed. Changes of it are seen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: tuple[bytes, ...] = ()
        self._seen: tuple[int, int] | None = None

    def current(self) -> Sequence[bytes]:
        """The first seals. `InvalidError` for a file that has none, or is open to others."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._make()
            status = self._path.stat()
        seen = (status.st_mtime_ns, status.st_ino)
        if seen != self._seen:
            if status.st_mode & 0o077:
                raise InvalidError(f"{self._path} is open to others: chmod 600 it")
            self._keys = parse_keys(self._path.read_text(encoding="ascii", errors="replace"))
            self._seen = seen
        return self._keys

    def write(self, keys: Sequence[bytes]) -> None:
        """Replace the file's keys; on disk when it returns, the old ones or the new ones whatever happens."""
        temporary = self._written("".join(base64.b64encode(key).decode() + "\n" for key in keys))
        temporary.replace(self._path)
        self._sync()

    def _make(self) -> None:
        temporary = self._written(new_key() + "\n")
        # Linked, not renamed: of two processes that make one at the same time, both use the first.
        with contextlib.suppress(FileExistsError):
            self._path.hardlink_to(temporary)
        temporary.unlink()
        self._sync()

    def _written(self, text: str) -> Path:
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return Path(name)

    def _sync(self) -> None:
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class Keys(Protocol):
    """Where the installation's keys come from; never empty, the first seals."""

    def current(self) -> Sequence[bytes]: ...


class SecretSealer:
    """Implements `sandbank.api.core.team_secrets.Sealer`."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def seal(self, value: str, context: bytes) -> Sealed:
        """`BackendError` when there is no usable key."""
        key = self._all()[0]
        own = os.urandom(_KEY_BYTES)
        return Sealed(key_id(key), _encrypt(key, own, context), _encrypt(own, value.encode(), context))

    def open(self, sealed: Sealed, context: bytes) -> str:
        """`BackendError` when its key is not there, or what is stored was changed."""
        own = self._unwrap(sealed, context)
        return _decrypt(own, sealed.value, context).decode()

    def rewrap(self, sealed: Sealed, context: bytes) -> Sealed:
        """The same value, its key wrapped by the first of the installation's."""
        key = self._all()[0]
        return replace(sealed, key_id=key_id(key), wrapped_key=_encrypt(key, self._unwrap(sealed, context), context))

    @property
    def key_id(self) -> str:
        """Of the key that seals."""
        return key_id(self._all()[0])

    def _unwrap(self, sealed: Sealed, context: bytes) -> bytes:
        for key in self._all():
            if key_id(key) == sealed.key_id:
                return _decrypt(key, sealed.wrapped_key, context)
        _log.error("a secret needs a key that this installation does not have: see SANDBANK_SECRETS_KEY", key_id=sealed.key_id)
        raise BackendError("Secrets backend error")

    def _all(self) -> Sequence[bytes]:
        try:
            return self._keys.current()
        except (OSError, InvalidError) as error:
            _log.error("the keys for secrets cannot be read", error=str(error))
            raise BackendError("Secrets backend error") from error


def _encrypt(key: bytes, plain: bytes, context: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, context)


def _decrypt(key: bytes, sealed: bytes, context: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError) as error:
        _log.error("a secret was changed in the database by somebody without the key")
        raise BackendError("Secrets backend error") from error
