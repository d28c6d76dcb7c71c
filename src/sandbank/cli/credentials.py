"""Which keys and secrets an installation has: the well-known ones on loopback, generated ones as soon as anybody else can connect."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sandbank.artifacts.atomic import write_atomically
from sandbank.domain import development
from sandbank.domain.errors import InternalError


@dataclass(frozen=True)
class Credentials:
    """`api_key` and `access_token` are what clients present; the rest is between services. Never logged."""

    api_key: str = field(repr=False)
    access_token: str = field(repr=False)
    team_id: str
    admin_token: str = field(repr=False)
    edge_secret: str = field(repr=False)
    token_hash_seed: str = field(repr=False)


class CredentialsFile:
    """Generated credentials in `<data_dir>/credentials.json`, readable by root alone. The database has only hashes of the keys."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "credentials.json"

    def find(self) -> Credentials | None:
        """What was generated, if anything was; `InternalError` when the file is damaged."""
        try:
            return Credentials(**json.loads(self.path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise InternalError(f"{self.path} is damaged: restore it, or remove it to have new keys generated") from error

    def keep(self, api_key: str, access_token: str, team_id: str) -> Credentials:
        """Store freshly generated keys with fresh secrets beside them."""
        credentials = Credentials(
            api_key, access_token, team_id, secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        )
        write_atomically(self.path, json.dumps(asdict(credentials), indent=2).encode() + b"\n", 0o600)
        return credentials


class SecretsFile:
    """What a loopback installation keeps secret all the same: nobody needs a well-known admin token."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "secrets.json"

    def get(self) -> Credentials:
        """The published keys of local development with this installation's own admin token and edge secret, made at the first call."""
        try:
            stored = json.loads(self._path.read_text())
        except FileNotFoundError:
            stored = {"admin_token": secrets.token_urlsafe(32), "edge_secret": secrets.token_urlsafe(32)}
            write_atomically(self._path, json.dumps(stored).encode() + b"\n", 0o600)
        return Credentials(
            api_key=development.API_KEY,
            access_token=development.ACCESS_TOKEN,
            team_id=development.TEAM_ID,
            token_hash_seed=development.TOKEN_SEED,
            admin_token=stored["admin_token"],
            edge_secret=stored["edge_secret"],
        )
