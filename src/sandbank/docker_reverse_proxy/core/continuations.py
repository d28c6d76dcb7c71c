"""Upload URLs of registries that have them elsewhere than below the repository, as Google's does (`/artifacts-uploads/…`).

E2B's proxy lets such a URL through for whoever knows it. Here the client gets it sealed, inside a path of its template's repository: only a
token for that template leads there, and nobody makes one up.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

_MARK = "s."
_MAC_BYTES = 16


class Continuations:
    """Seals and opens request targets; all replicas have the same `secret`."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"docker-reverse-proxy upload", hashlib.sha256)

    @staticmethod
    def is_sealed(segment: str) -> bool:
        """Whether a path segment looks like one of ours."""
        return segment.startswith(_MARK)

    def seal(self, target: str, template_id: str) -> str:
        """`target` as one path segment, good for this template alone."""
        raw = target.encode()
        return _MARK + base64.urlsafe_b64encode(self._sign(raw, template_id) + raw).decode().rstrip("=")

    def open(self, segment: str, template_id: str) -> str | None:
        """The target in a segment that was sealed for this template; else nothing."""
        encoded = segment.removeprefix(_MARK)
        try:
            raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        except ValueError:
            return None
        mac, target = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._sign(target, template_id)):
            return None
        return target.decode()

    def _sign(self, target: bytes, template_id: str) -> bytes:
        return hmac.digest(self._key, template_id.encode() + b"\0" + target, hashlib.sha256)[:_MAC_BYTES]
