"""Which headers a request gets, and the request with them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sandbank.domain.errors import SandbankError
from sandbank.domain.header_placeholders import IDENTITY, SECRET, fill, references
from sandbank.runtime.driver import SecretSource
from sandbank.runtime.network.egress.requests import Head

_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")

Headers = Mapping[str, str]


class RefusedError(Exception):
    """A request that is not passed on; the client is told why, in words that hold nothing of what it must not know."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def headers_for(name: str, transforms: Mapping[str, Headers]) -> Headers | None:
    """The rule for a name: its own, else that of the nearest `*.` above it."""
    if name in transforms:
        return transforms[name]
    while "." in name:
        name = name.partition(".")[2]
        if (found := transforms.get(f"*.{name}")) is not None:
            return found
    return None


class Rewriter:
    """Puts headers into the requests of one connection to `name`."""

    def __init__(self, sandbox_id: str, name: str, headers: Headers, source: SecretSource, *, is_secure: bool) -> None:
        self._sandbox_id = sandbox_id
        self._name = name
        self._headers = headers
        self._source = source
        self._is_secure = is_secure
        self._wanted = sorted({reference for value in headers.values() for reference in references(value)})
        self._replaced = {header.lower().encode() for header in headers}

    async def rewrite(self, head: Head) -> bytes:
        """The head with its headers, all of the client's by the same names gone. `RefusedError` when it must not go out."""
        if head.name != self._name:
            raise RefusedError(421, "this connection is for another name")
        if self._wanted and head.method == b"TRACE":
            raise RefusedError(405, "a server would send back what this request carries")
        if self._wanted and not self._is_secure:
            raise RefusedError(403, "secrets are put into requests over https only")
        values = await self._values()
        first, *lines = head.raw[:-4].split(b"\r\n")
        kept = [line for line in lines if line.partition(b":")[0].lower() not in self._replaced]
        added = [name.encode() + b": " + _filled(value, values) for name, value in self._headers.items()]
        return b"\r\n".join([first, *kept, *added, b"", b""])

    async def _values(self) -> Mapping[str, str]:
        if not self._wanted:
            return {}
        try:
            values = await self._source.values(self._sandbox_id, self._wanted)
        except SandbankError as error:
            raise RefusedError(502, "the secrets that this request is to carry cannot be had at the moment") from error
        for reference in self._wanted:
            if reference not in values:
                kind = "identity token" if reference.startswith(IDENTITY) else "secret"
                raise RefusedError(502, f"there is no {kind} {reference.removeprefix(IDENTITY).removeprefix(SECRET)}")
        return values


def _filled(value: str, values: Mapping[str, str]) -> bytes:
    filled = fill(value, values)
    if _VALUE.fullmatch(filled) is None:
        raise RefusedError(502, "a secret has a line break or another character that no header can have")
    return filled.encode()
