"""JWTs of an OpenID Connect provider, verified with the keys that it publishes (REST contract §3.1).

What a token says about itself chooses among what the settings allow and never more than that: not the issuer, not the algorithm, no key.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.types import Options

from sandbank.api.core.ports import Identity
from sandbank.domain.errors import InvalidError, UnauthenticatedError, UnavailableError

ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""Those where who verifies cannot sign. With any other a public key would be a password that everybody knows."""

_TOKEN_LIMIT_BYTES = 16 * 1024
_SUBJECT_LIMIT = 255  # OpenID Connect Core §2
_DOCUMENT_LIMIT_BYTES = 512 * 1024
_FETCH_SECONDS = 5.0
_FRESH_SECONDS = 3600.0
# Strangers choose `kid`: what they make up must not become a flood at the provider.
_RETRY_SECONDS = 10.0
_KEYS_LIMIT = 100
_RSA_BITS = 2048
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}

_log = structlog.get_logger("sandbank.api")


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """A provider, and for whom its tokens must be made. Without `jwks_url` the provider's discovery document names it."""

    issuer: str
    audiences: tuple[str, ...]
    jwks_url: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    clock_skew_seconds: int = 30

    def check(self) -> None:
        """`InvalidError` for what cannot be safe or cannot work."""
        if not self.audiences:
            raise InvalidError("SANDBANK_OIDC_AUDIENCE must say for whom tokens are made: the issuer makes them for other services, too")
        unsafe = sorted(set(self.algorithms) - ALGORITHMS)
        if unsafe or not self.algorithms:
            raise InvalidError(f"SANDBANK_OIDC_ALGORITHMS: {', '.join(unsafe) or 'none'} cannot be used: {', '.join(sorted(ALGORITHMS))}")
        for name, url in (("ISSUER", self.issuer), ("JWKS_URL", self.jwks_url)):
            if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
                raise InvalidError(f"SANDBANK_OIDC_{name} must be an http or https URL")


class IdentityProvider:
    """Implements `sandbank.api.core.ports.IdentityTokens`. Keys are fetched when first needed, hourly, and for a `kid` not seen before."""

    def __init__(
        self, settings: ProviderSettings, client: httpx.AsyncClient | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        settings.check()
        self._settings = settings
        self._client = client
        self._clock = clock
        self._keys: list[dict[str, Any]] = []
        self._loaded_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def verify(self, token: str) -> Identity:
        """Whose it is; `UnauthenticatedError` if it proves nothing, `UnavailableError` while the provider's keys were never reached."""
        try:
            return await self._verify(token)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            _log.info("identity token refused", reason=str(error)[:200])
            raise UnauthenticatedError(str(error)) from error

    async def close(self) -> None:
        """Close connections to the provider."""
        if self._client is not None:
            await self._client.aclose()

    async def _verify(self, token: str) -> Identity:
        if len(token) > _TOKEN_LIMIT_BYTES or not token.isascii():
            raise ValueError("the token is too long, or not one")
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in self._settings.algorithms:
            raise ValueError("the algorithm is not allowed")
        if "crit" in header:
            raise ValueError("the token has critical extensions")
        options: Options = {"require": ["exp", "iss", "sub", "aud"]}
        failure: Exception = ValueError("no key of the provider fits")
        for key in await self._candidates(header.get("kid"), algorithm):
            try:
                claims = jwt.decode(
                    token,
                    key=key,
                    algorithms=[algorithm],
                    issuer=self._settings.issuer,
                    audience=self._settings.audiences,
                    leeway=self._settings.clock_skew_seconds,
                    options=options,
                )
            except jwt.InvalidSignatureError as error:
                failure = error
                continue
            subject = claims["sub"]
            if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_LIMIT or "\0" in subject:
                raise ValueError("the subject is none")
            return Identity(self._settings.issuer, subject)
        raise failure

    async def _candidates(self, kid: object, algorithm: str) -> list[Any]:
        now = self._clock()
        stale = self._loaded_at is None or now - self._loaded_at > _FRESH_SECONDS
        if stale or (kid is not None and all(key.get("kid") != kid for key in self._keys)):
            await self._refresh(now)
        fitting = [key for key in self._keys if kid is None or key.get("kid") == kid]
        return [key for key in (_public_key(jwk, algorithm) for jwk in fitting) if key is not None]

    async def _refresh(self, asked_at: float) -> None:
        async with self._fetching:
            if self._tried_at is not None and (self._tried_at >= asked_at or asked_at - self._tried_at < _RETRY_SECONDS):
                if self._loaded_at is None:
                    raise UnavailableError("the identity provider does not answer")
                return
            self._tried_at = self._clock()
            try:
                document = await self._fetch(self._settings.jwks_url or await self._discover())
                keys = document["keys"]
                self._keys = [key for key in keys[:_KEYS_LIMIT] if isinstance(key, dict)]
                self._loaded_at = self._clock()
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError, ValueError, TypeError, KeyError) as error:
                _log.warning(
                    "identity provider does not answer", issuer=self._settings.issuer, error=str(error)[:200] or type(error).__name__
                )
                if self._loaded_at is None:
                    raise UnavailableError("the identity provider does not answer") from error

    async def _discover(self) -> str:
        issuer = self._settings.issuer
        document = await self._fetch(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if document["issuer"] != issuer:
            raise ValueError(f"the discovery document is of another issuer than {issuer}")
        url = document["jwks_uri"]
        if urlsplit(issuer).scheme == "https" and urlsplit(url).scheme != "https":
            raise ValueError("the keys of an https issuer are not under https")
        return str(url)

    async def _fetch(self, url: str) -> dict[str, Any]:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_FETCH_SECONDS, follow_redirects=False)
        body = b""
        async with asyncio.timeout(_FETCH_SECONDS), self._client.stream("GET", url, headers={"Accept": "application/json"}) as response:
            if response.status_code != 200:
                raise ValueError(f"{url} was answered with {response.status_code}")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _DOCUMENT_LIMIT_BYTES:
                    raise ValueError(f"{url} is too large")
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError(f"{url} is no object")
        return document


def _public_key(jwk: dict[str, Any], algorithm: str) -> Any | None:
    """The key, if the provider means it for signatures of this kind and it is strong enough."""
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]) or jwk.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.get_algorithm_by_name(algorithm).from_jwk(jwk)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    match key:
        case rsa.RSAPublicKey():
            return key if key.key_size >= _RSA_BITS else None
        case ec.EllipticCurvePublicKey():
            return key if key.curve.name == _CURVES.get(algorithm) else None
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return key
    return None  # a private key in public: nobody can say whose signatures it makes
