"""What a handler is given: the call it answers and the stream it answers into."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import Message

from sandbank.domain.errors import InvalidError, SandbankError
from sandbank.envd.connect.codec import Codec
from sandbank.envd.connect.envelope import END_OF_STREAM, seal
from sandbank.envd.connect.errors import describe
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response

DEFAULT_KEEPALIVE_SECONDS = 90
MAX_KEEPALIVE_SECONDS = 24 * 3600
STALLED_SECONDS = 60.0  # how long a reader may leave the news that its deadline has passed
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_LEGACY_AGENT = "connect-python"  # exactly: the first Python client; newer ones say more


@dataclass(frozen=True)
class Call:
    """The caller's side of one RPC. `deadline` is in the loop's time, from the request's arrival; None means none."""

    request: Request
    deadline: float | None

    @property
    def username(self) -> str | None:
        """The user it named; None for the sandbox's default."""
        return self.request.username

    @property
    def keepalive_seconds(self) -> int:
        """After how much silence a stream says that it is alive."""
        text = self.request.headers.get("keepalive-ping-interval", "").strip()
        return min(max(1, int(text)), MAX_KEEPALIVE_SECONDS) if _INTEGER.fullmatch(text) else DEFAULT_KEEPALIVE_SECONDS

    @property
    def is_legacy(self) -> bool:
        """Whether the client rejects fields it does not know (data-plane contract §1.7)."""
        return self.request.headers.get("user-agent") == _LEGACY_AGENT


def deadline_of(request: Request) -> float | None:
    """The end of the caller's patience by `Connect-Timeout-Ms`; `InvalidError` when that is no number of at most ten digits."""
    text = request.headers.get("connect-timeout-ms")
    if not text:
        return None
    if not text.isdecimal() or not text.isascii() or len(text) > 10:
        raise InvalidError(f'protocol error: parse timeout: "{text[:32]}" is not a valid timeout')
    return asyncio.get_running_loop().time() + int(text) / 1000


class MessageStream:
    """The answering side of a stream; each `send` reaches the socket before it returns, and waits while the peer is slow."""

    def __init__(self, response: Response, codec: Codec) -> None:
        self._response = response
        self.codec = codec

    async def send(self, message: Message) -> None:
        """One message."""
        await self.send_payloads((self.codec.encode(message),))

    async def send_payloads(self, payloads: Iterable[bytes]) -> None:
        """Messages that are encoded already, each in its own envelope."""
        await self._write(b"".join([seal(payload) for payload in payloads]))

    async def end(self, error: SandbankError | None = None) -> None:
        """The end of the stream, with its outcome."""
        outcome = {} if error is None else {"error": describe(error)}
        await self._write(seal(json.dumps(outcome, separators=(",", ":")).encode(), END_OF_STREAM))
        await self._response.finish()

    async def _write(self, data: bytes) -> None:
        if not self._response.started:
            self._response.start(200, {"Content-Type": f"application/connect+{self.codec.name}"})
        await self._response.write(data)
