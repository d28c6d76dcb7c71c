"""Logging in to a registry: anonymous until it asks, then a password or a token of its token server."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from urllib.parse import urlencode

from sandbank.domain.errors import InvalidError
from sandbank.registry import ecr, failures
from sandbank.registry.challenge import Challenge, parse_challenge
from sandbank.registry.connection import Connection
from sandbank.registry.credentials import AwsCredentials, BasicCredentials, GcpCredentials, RegistryCredentials
from sandbank.registry.documents import read_document
from sandbank.registry.reference import ImageReference

_LONGEST_TOKEN = 64 * 1024


class Authorization:
    """The `Authorization` header for one repository; `header` is empty until `answer` has been asked."""

    def __init__(self, image: str, reference: ImageReference, credentials: RegistryCredentials | None, connection: Connection) -> None:
        self._image = image
        self._reference = reference
        self._credentials = credentials
        self._connection = connection
        self._lock = asyncio.Lock()
        self.header = ""

    async def answer(self, challenges: list[str], rejected: str) -> bool:
        """Get a header other than `rejected`; `False` when there is none to be had. One login at a time, for all downloads."""
        async with self._lock:
            if self.header != rejected:
                return True
            challenge = parse_challenge(challenges)
            if challenge is None:
                return False
            basic = await self._basic()
            if challenge.scheme == "basic":
                header = basic.header if basic is not None else ""
            else:
                header = f"Bearer {await self._token(challenge, basic)}"
            # The same password again would be refused again; a token may only have been too old.
            if not header or (header == rejected and challenge.scheme == "basic"):
                return False
            self.header = header
            return True

    async def _basic(self) -> BasicCredentials | None:
        credentials = self._credentials
        if isinstance(credentials, GcpCredentials):
            return credentials.basic
        if not isinstance(credentials, AwsCredentials):
            return credentials
        if not ecr.is_ecr(self._reference.registry):
            raise InvalidError(f"credentials of AWS are for registries of AWS, and '{self._image}' is not in one")
        try:
            request = ecr.token_request(credentials, self._reference.registry, datetime.now(UTC))
            async with self._connection.send(request.url, request.headers, method="POST", body=request.body) as response:
                if response.status_code != 200:
                    raise failures.of_status(self._image, 401)
                return ecr.read_token(await read_document(response))
        except ValueError as error:
            raise InvalidError(f"failed to pull image '{self._image}': {error}") from error

    async def _token(self, challenge: Challenge, basic: BasicCredentials | None) -> str:
        realm = challenge.parameters.get("realm", "")
        query = {"scope": f"repository:{self._reference.repository}:pull"}
        if service := challenge.parameters.get("service"):
            query["service"] = service
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
        async with self._connection.send(url, {}, authorization=basic.header if basic is not None else "") as response:
            if response.status_code in (400, 401, 403, 404):
                raise failures.of_status(self._image, 403 if response.status_code == 403 else 401)
            if response.status_code != 200:
                raise failures.of_status(self._image, response.status_code)
            try:
                document = json.loads(await read_document(response))
                token = document.get("token") or document.get("access_token")
            except (ValueError, AttributeError) as error:
                raise failures.unreachable(self._image, "its token server does not send JSON") from error
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or len(token) > _LONGEST_TOKEN:
            raise failures.unreachable(self._image, "its token server sends no token")
        return token
