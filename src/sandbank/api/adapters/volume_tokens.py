"""Tokens for the files of one volume: JWTs signed with a key of the installation's own (rest-api contract §18.2)."""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sandbank.api.core.volumes import Volume
from sandbank.domain.errors import InvalidError, UnauthenticatedError

_ALGORITHM = "ES256"
_ISSUER = "sandbank"
_LIFETIME = timedelta(hours=1)


def load_or_make_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in a PEM file, which is made, for its owner only, where there is none. `InvalidError` for one that is no P-256 key."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        pass
    else:
        made = ec.generate_private_key(ec.SECP256R1())
        with os.fdopen(descriptor, "wb") as file:
            file.write(made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        return made
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, OSError) as error:
        raise InvalidError(f"{path} is no private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidError(f"{path} is no P-256 key")
    return key


class VolumeTokenMint:
    """Issues tokens and reads them. `audience` is the API as clients know it. The key is loaded, or made, when it is first needed."""

    def __init__(self, key_file: Path, domain: str | None) -> None:
        self._key_file = key_file
        self._audience = f"https://api.{domain or 'localhost'}"
        self._key: ec.EllipticCurvePrivateKey | None = None
        self._key_id = ""

    def issue(self, volume: Volume) -> str:
        """Good for an hour, for this volume and nothing else."""
        key, now = self._loaded(), datetime.now(UTC)
        claims = {
            "aud": self._audience,
            "iss": _ISSUER,
            "sub": volume.team_id,
            "teamid": volume.team_id,
            "volid": volume.volume_id,
            "voltype": volume.kind,
            "iat": now,
            "nbf": now,
            "exp": now + _LIFETIME,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, key, _ALGORITHM, headers={"kid": self._key_id, "tokid": self._key_id})

    def read(self, token: str) -> tuple[str, str]:
        """Team and volume of a token; `UnauthenticatedError` for whatever we did not issue, or too long ago."""
        key = self._loaded().public_key()
        required = ["exp", "nbf", "aud", "iss", "sub", "volid"]
        try:
            claims = jwt.decode(token, key, algorithms=[_ALGORITHM], audience=self._audience, issuer=_ISSUER, options={"require": required})
        except jwt.PyJWTError as error:
            raise UnauthenticatedError("Invalid volume token") from error
        return str(claims["sub"]), str(claims["volid"])

    def _loaded(self) -> ec.EllipticCurvePrivateKey:
        if self._key is None:
            self._key = load_or_make_key(self._key_file)
            public = self._key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            self._key_id = hashlib.sha256(public).hexdigest()[:16]
        return self._key
