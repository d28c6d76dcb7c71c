"""An OpenID Connect provider for tests: keys, discovery, and tokens as its users would bring them, or as somebody else would forge them."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER = "https://issuer.test/"
AUDIENCE = "sandbank"


class Provider:
    """Answers over `transport`; `requests` counts what was asked of it. `is_down` makes it refuse."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.keys: list[dict[str, Any]] = [self.public("rsa-1", self.rsa), self.public("ec-1", self.ec)]
        self.discovery: dict[str, Any] = {"issuer": ISSUER, "jwks_uri": "https://issuer.test/keys"}
        self.requests: list[str] = []
        self.is_down = False

    @staticmethod
    def public(kid: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, **more: Any) -> dict[str, Any]:
        if isinstance(key, rsa.RSAPrivateKey):
            document = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        else:
            document = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return document | {"kid": kid} | more

    def answer(self, request: httpx.Request) -> httpx.Response:
        """What it says."""
        self.requests.append(request.url.path)
        if self.is_down:
            raise httpx.ConnectError("down")
        if request.url.path.endswith("/.well-known/openid-configuration"):
            return httpx.Response(200, json=self.discovery)
        return httpx.Response(200, json={"keys": self.keys})

    def client(self) -> httpx.AsyncClient:
        """A way to it without a network."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self.answer))

    def token(self, subject: str = "me", *, kid: str | None = "rsa-1", algorithm: str = "RS256", key: Any = None, **claims: Any) -> str:
        """A token; claims that are `None` are left out."""
        now = int(time.time())
        body = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 600} | claims
        headers = {} if kid is None else {"kid": kid}
        if key is None:
            key = self.ec if algorithm.startswith("ES") else self.rsa
        return jwt.encode({name: value for name, value in body.items() if value is not None}, key, algorithm=algorithm, headers=headers)


def forge(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """A token that no library would make."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    return ".".join((part(json.dumps(header).encode()), part(json.dumps(claims).encode()), part(signature)))
