"""The name under which clients find an installation: `api.<domain>` and `<port>-<sandboxID>.<domain>` (contract sdk-latest §2.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from sandbank.domain.errors import InvalidError

HTTPS_PORT = 443
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_NAME = 253 - len("65535-12345678901234567890.")


@dataclass(frozen=True)
class PublicDomain:
    """`name` in lower case; `port` is where clients connect to, which need not be where this machine listens."""

    name: str
    port: int = HTTPS_PORT

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `NAME` or `NAME:PORT`; `InvalidError` says what is wrong with it in one line."""
        name, colon, port_text = text.strip().lower().removesuffix(".").partition(":")
        port = HTTPS_PORT
        if colon:
            if not (port_text.isascii() and port_text.isdecimal() and 0 < int(port_text) < 65536):
                raise InvalidError(f"the domain {text!r} has no valid port: expected NAME or NAME:PORT")
            port = int(port_text)
        labels = name.split(".")
        if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdecimal():
            raise InvalidError(f"{text!r} is not a domain name: expected NAME or NAME:PORT, like sandboxes.example.com")
        if len(labels) < 2:
            # X.509 matching in OpenSSL and rustls wants two labels behind the star of `*.<domain>`.
            raise InvalidError(f"the domain {name!r} has one label only, and clients refuse certificates for *.{name}: use sandbank.{name}")
        return cls(name, port)

    def __str__(self) -> str:
        """What clients take as `E2B_DOMAIN`, and what answers carry as `domain`."""
        return self.name if self.port == HTTPS_PORT else f"{self.name}:{self.port}"

    @property
    def api_name(self) -> str:
        """The REST API's host, without port."""
        return f"api.{self.name}"

    @property
    def api_url(self) -> str:
        """The REST API."""
        return f"https://api.{self}"

    @property
    def is_local(self) -> bool:
        """Whether the name is this machine's own by definition (RFC 6761 §6.3)."""
        return self.name.endswith(".localhost")
