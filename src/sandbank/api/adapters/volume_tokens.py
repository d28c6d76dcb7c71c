"""Tokens for the files of one volume: JWTs signed with a key of the installation's own (rest-api contract §18.2)."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt

from sandbank.api.adapters.signing_key import ALGORITHM, SigningKey
from sandbank.api.core.volumes import Volume
from sandbank.domain.errors import UnauthenticatedError

_ISSUER = "sandbank"
_LIFETIME = timedelta(hours=1)


class VolumeTokenMint:
    """Issues tokens and reads them. `audience` is the API as clients know it. The key is loaded, or made, when it is first needed."""

    def __init__(self, key_file: Path, domain: str | None) -> None:
        self._key = SigningKey(key_file)
        self._audience = f"https://api.{domain or 'localhost'}"

    def issue(self, volume: Volume) -> str:
        """Good for an hour, for this volume and nothing else."""
        now, key_id = datetime.now(UTC), self._key.key_id
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
        return jwt.encode(claims, self._key.private, ALGORITHM, headers={"kid": key_id, "tokid": key_id})

    def read(self, token: str) -> tuple[str, str]:
        """Team and volume of a token; `UnauthenticatedError` for whatever we did not issue, or too long ago."""
        key = self._key.private.public_key()
        required = ["exp", "nbf", "aud", "iss", "sub", "volid"]
        try:
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], audience=self._audience, issuer=_ISSUER, options={"require": required})
        except jwt.PyJWTError as error:
            raise UnauthenticatedError("Invalid volume token") from error
        return str(claims["sub"]), str(claims["volid"])
