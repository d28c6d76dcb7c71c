"""Loki's HTTP API, as far as logs need it (https://grafana.com/docs/loki/latest/reference/loki-http-api/)."""

from __future__ import annotations

import gzip
from collections.abc import Mapping

import httpx

from sandbank.domain.errors import InvalidError, UnavailableError

PUSH_PATH = "/loki/api/v1/push"
QUERY_PATH = "/loki/api/v1/query_range"
_TIMEOUT_SECONDS = 10.0
# Statuses that say something about what was sent, so that sending it again would not help. The rest is about the server or its settings.
_REFUSALS = frozenset({400, 413, 422})
_SAID_CHARACTERS = 300


class AnswerTooLargeError(UnavailableError):
    """More than was asked to be read."""


class LokiClient:
    """One Loki. `user` and `password` go along as HTTP basic authentication; errors are `UnavailableError`, or `InvalidError`."""

    def __init__(self, url: str, user: str | None = None, password: str | None = None) -> None:
        # Loki is a service of the operator's own: settings for the way to the internet do not apply.
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            auth=httpx.BasicAuth(user, password or "") if user else None,
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
        )

    async def push(self, body: bytes) -> None:
        """A JSON push body. `InvalidError` when Loki will never take it, `UnavailableError` when it may later."""
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        try:
            answer = await self._http.post(PUSH_PATH, content=gzip.compress(body, 3), headers=headers)
        except httpx.HTTPError as error:
            raise UnavailableError(f"Loki cannot be reached: {error!r}") from error
        if answer.is_success:
            return
        said = f"Loki answers {answer.status_code}: {answer.text[:_SAID_CHARACTERS].strip()}"
        raise InvalidError(said) if answer.status_code in _REFUSALS else UnavailableError(said)

    async def query_range(self, parameters: Mapping[str, str], max_bytes: int) -> bytes:
        """The JSON answer; `AnswerTooLargeError` beyond `max_bytes`, which bound what is held in memory."""
        pieces: list[bytes] = []
        size = 0
        try:
            async with self._http.stream("GET", QUERY_PATH, params=dict(parameters)) as answer:
                async for piece in answer.aiter_bytes():
                    size += len(piece)
                    if size > max_bytes:
                        raise AnswerTooLargeError(f"Loki's answer is larger than {max_bytes} bytes")
                    pieces.append(piece)
        except httpx.HTTPError as error:
            raise UnavailableError(f"Loki cannot be reached: {error!r}") from error
        body = b"".join(pieces)
        if not answer.is_success:
            raise UnavailableError(f"Loki answers {answer.status_code}: {body[:_SAID_CHARACTERS].decode(errors='replace').strip()}")
        return body

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()
