"""Links by which clients upload archives without saying who they are (contract templates-and-data §1.2.6, rest-api §14.4). Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import urlencode

from sandbank.domain.errors import DeniedError, InvalidError

LIFE_SECONDS = 30 * 60
_PATH = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,127})/files/([0-9a-f]{64})\.tar")


def path_of(scope: str, digest: str) -> str:
    """What a link is for; `InvalidError` for names that cannot be."""
    path = f"{scope}/files/{digest}.tar"
    if _PATH.fullmatch(path) is None:
        raise InvalidError("Invalid files hash")
    return path


def make_link(key: bytes, path: str, now: float) -> str:
    """Relative to whatever address clients know."""
    expires = int(now) + LIFE_SECONDS
    return "/upload?" + urlencode({"path": path, "expires": expires, "token": sign(key, path, expires)})


def sign(key: bytes, path: str, expires: int) -> str:
    """HMAC-SHA256 over both, in hex."""
    return hmac.new(key, f"{path}\0{expires}".encode(), hashlib.sha256).hexdigest()


def check_link(key: bytes, path: str, expires: int, token: str, now: float) -> tuple[str, str]:
    """The scope and the hash that it is for. `DeniedError` when it is forged or too old, `InvalidError` for a path that is none of ours."""
    if not hmac.compare_digest(sign(key, path, expires).encode(), token.encode()) or expires < now:
        raise DeniedError("invalid or expired token")
    match = _PATH.fullmatch(path)
    if match is None:
        raise InvalidError("invalid path")
    return match[1], match[2]
