"""A P-256 key of the installation's own, in a file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sandbank.domain.errors import InternalError, InvalidError

ALGORITHM = "ES256"

_log = structlog.get_logger(__name__)


def load_or_make_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in a PEM file, which is made, for its owner only, where there is none. `InvalidError` for one that is no P-256 key."""
    if not path.exists():
        _make(path)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, OSError) as error:
        raise InvalidError(f"{path} is no private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidError(f"{path} is no P-256 key")
    return key


def _make(path: Path) -> None:
    made = ec.generate_private_key(ec.SECP256R1())
    pem = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # For its owner only.
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
        # Linked once it is whole: of several processes that make one at the same time, all use the first.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(file.name)


class SigningKey:
    """Loaded, or made, when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: ec.EllipticCurvePrivateKey | None = None

    @property
    def private(self) -> ec.EllipticCurvePrivateKey:
        """What signs. `InternalError` when there is none to be had; why is in the log."""
        if self._key is None:
            try:
                self._key = load_or_make_key(self._path)
            except (OSError, InvalidError) as error:
                _log.error("a key of this installation cannot be used", error=str(error))
                raise InternalError("a key of this installation cannot be used") from error
        return self._key

    @property
    def key_id(self) -> str:
        """A name for it that says nothing of it."""
        public = self.private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(public).hexdigest()[:16]
