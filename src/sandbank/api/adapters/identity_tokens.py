"""Workload tokens as JWT-SVIDs, and what those who get them need to check them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from jwt.algorithms import ECAlgorithm

from sandbank.api.adapters.signing_key import ALGORITHM, SigningKey
from sandbank.domain.sandbox import Sandbox

_LIFETIME = timedelta(minutes=5)


class IdentityTokens:
    """Implements `sandbank.api.core.identity.IdentityMint`. `issuer` is an address where everybody who checks finds the keys."""

    def __init__(self, key: SigningKey, issuer: str, trust_domain: str) -> None:
        self._key = key
        self._issuer = issuer.rstrip("/")
        self._trust_domain = trust_domain

    def issue(self, sandbox: Sandbox, audience: str) -> str:
        """Good for five minutes."""
        now = datetime.now(UTC)
        path = f"team/{sandbox.team_id}/template/{sandbox.template_id}/sandbox/{sandbox.sandbox_id}"
        claims = {
            "iss": self._issuer,
            "sub": f"spiffe://{self._trust_domain}/{path}",
            "aud": [audience],
            "iat": now,
            "nbf": now,
            "exp": now + _LIFETIME,
            "jti": str(uuid.uuid4()),
            "team_id": sandbox.team_id,
            "template_id": sandbox.template_id,
            "sandbox_id": sandbox.sandbox_id,
        }
        return jwt.encode(claims, self._key.private, ALGORITHM, headers={"kid": self._key.key_id})

    def key_set(self) -> Mapping[str, Any]:
        """One key."""
        public = json.loads(ECAlgorithm.to_jwk(self._key.private.public_key()))
        return {"keys": [{**public, "kid": self._key.key_id, "alg": ALGORITHM, "use": "sig"}]}

    def discovery(self) -> Mapping[str, Any]:
        """What cloud providers ask for."""
        return {
            "issuer": self._issuer,
            "jwks_uri": f"{self._issuer}/.well-known/jwks.json",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }
