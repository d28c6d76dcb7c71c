"""Which servers the node believes when it sends requests with added headers to them."""

from __future__ import annotations

import ssl
from pathlib import Path


class UpstreamTrust:
    """What the node trusts, and the certificates in `bundle` (PEM) besides; a changed file counts from the next connection on."""

    def __init__(self, bundle: Path | None) -> None:
        self._bundle = bundle
        self._context: ssl.SSLContext | None = None
        self._seen: tuple[int, int] | None = None

    def context(self) -> ssl.SSLContext:
        """For a client's side, HTTP/1.1 only. `OSError` when the bundle cannot be read."""
        seen = None
        if self._bundle is not None:
            status = self._bundle.stat()
            seen = (status.st_mtime_ns, status.st_ino)
        if self._context is None or seen != self._seen:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
            if self._bundle is not None:
                context.load_verify_locations(self._bundle)
            self._context, self._seen = context, seen
        return self._context
