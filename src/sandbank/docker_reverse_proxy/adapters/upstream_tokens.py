"""What the upstream registry wants to see of us: nothing, basic authentication, or a token of its own that we ask for."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from sandbank.docker_reverse_proxy.core.registry_url import RegistryUrl
from sandbank.domain.errors import UnavailableError

_TIMEOUT_SECONDS = 15
_LEAST_SECONDS = 60  # what a token lasts that does not say (Docker's token specification)
_EARLY_SECONDS = 30  # so that none ends on its way
_MOST_TOKENS = 4096
_PARAMETER = re.compile(r'([a-z]+)="([^"]*)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Challenge:
    scheme: str
    realm: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    ends_at: float
    lasts_seconds: int


class RegistryTokens:
    """Finds out by asking what the registry wants, and keeps tokens per template until shortly before their end. `close` when done."""

    def __init__(
        self,
        url: RegistryUrl,
        username: str,
        password: str,
        *,
        client: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._clock = clock
        self._http = client or httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, follow_redirects=False, trust_env=False)
        self._basic = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode() if username else None
        self._challenge: _Challenge | None = None
        self._tokens: dict[str, _Token] = {}

    async def prepare(self, template_id: str) -> int | None:
        """See `UpstreamTokens`."""
        token = await self._find(template_id)
        return None if token is None else token.lasts_seconds

    async def authorization(self, template_id: str) -> str | None:
        """The `Authorization` of a request about the template's repository. `UnavailableError` where there is none to be had."""
        token = await self._find(template_id)
        if token is not None:
            return f"Bearer {token.value}"
        return self._basic if self._challenge is not None and self._challenge.scheme == "basic" else None

    def forget(self, template_id: str) -> None:
        """The registry did not like what it saw: ask again next time."""
        self._tokens.pop(template_id, None)
        self._challenge = None

    async def close(self) -> None:
        """End the connections."""
        await self._http.aclose()

    async def _find(self, template_id: str) -> _Token | None:
        challenge = self._challenge or await self._ask()
        self._challenge = challenge
        if challenge.scheme != "bearer":
            return None
        known = self._tokens.get(template_id)
        now = self._clock()
        if known is not None and now < known.ends_at:
            return known
        token = await self._fetch(challenge, template_id)
        if len(self._tokens) >= _MOST_TOKENS:
            self._tokens = {key: kept for key, kept in self._tokens.items() if now < kept.ends_at}
        if len(self._tokens) < _MOST_TOKENS:
            self._tokens[template_id] = token
        return token

    async def _ask(self) -> _Challenge:
        response = await self._get(f"{self._url.root}/v2/", {}, None)
        if response.status_code == 200:
            return _Challenge("none")
        wanted = response.headers.get("www-authenticate", "")
        scheme, _, parameters = wanted.partition(" ")
        if response.status_code != 401 or scheme.lower() not in ("basic", "bearer"):
            raise UnavailableError(f"{self._url.root} does not answer like a registry: status {response.status_code}")
        if self._basic is None and scheme.lower() == "basic":
            raise UnavailableError(f"{self._url.root} wants a user and a password: set SANDBANK_DOCKER_REGISTRY_USERNAME and …_PASSWORD")
        named = {name.lower(): value for name, value in _PARAMETER.findall(parameters)}
        realm = named.get("realm", "")
        if scheme.lower() == "bearer" and self._url.scheme == "https" and not realm.startswith("https://"):
            raise UnavailableError(f"{self._url.root} names a place for tokens that is not encrypted: {realm!r}")
        return _Challenge(scheme.lower(), realm, named.get("service", ""))

    async def _fetch(self, challenge: _Challenge, template_id: str) -> _Token:
        asked_at = self._clock()
        parameters = {"scope": f"repository:{self._url.prefix}{template_id}:push,pull"}
        if challenge.service:
            parameters["service"] = challenge.service
        response = await self._get(challenge.realm, parameters, self._basic)
        if response.status_code != 200:
            raise UnavailableError(f"{challenge.realm} gives no token: status {response.status_code}")
        try:
            content = response.json()
            value = content.get("token") or content["access_token"]
            lasts_seconds = max(int(content.get("expires_in") or _LEAST_SECONDS), _LEAST_SECONDS)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnavailableError(f"{challenge.realm} gives no token: what it answers is something else") from error
        return _Token(str(value), asked_at + lasts_seconds - _EARLY_SECONDS, lasts_seconds)

    async def _get(self, url: str, parameters: dict[str, str], authorization: str | None) -> httpx.Response:
        headers = {} if authorization is None else {"Authorization": authorization}
        try:
            return await self._http.get(url, params=parameters, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(f"{url} does not answer: {error}") from error
