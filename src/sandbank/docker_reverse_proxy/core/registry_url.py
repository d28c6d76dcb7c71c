"""Where the upstream registry is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from sandbank.domain.errors import InvalidError

_PREFIX = re.compile(r"(?:[a-z0-9]+(?:[._-]+[a-z0-9]+)*/)*")


@dataclass(frozen=True, slots=True)
class RegistryUrl:
    """`prefix` begins the names of all our repositories there: empty, or ending with a slash."""

    scheme: str
    host: str
    port: int
    prefix: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `http(s)://host[:port][/prefix]`; `InvalidError` says what is wrong with it."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise InvalidError(f"the registry {text!r} is no URL: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username is not None:
            raise InvalidError(f"the registry {text!r} is no URL of the form http(s)://host[:port][/prefix]")
        prefix = parts.path.strip("/") + "/" if parts.path.strip("/") else ""
        if _PREFIX.fullmatch(prefix) is None:
            raise InvalidError(f"the registry {text!r} has a path that no repository can have: lower-case letters, digits and single . _ -")
        return cls(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), prefix)

    @property
    def authority(self) -> str:
        """What `Host` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    @property
    def root(self) -> str:
        """The registry without the prefix."""
        return f"{self.scheme}://{self.authority}"
