"""Workload identity: tokens that say to others which sandbox a request comes from (rest-api contract §8.1 `iam`).

They are JWT-SVIDs (SPIFFE): `sub` is `spiffe://<trust domain>/team/<team>/template/<template>/sandbox/<sandbox>`, `aud` what the sandbox's
creator said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sandbank.domain.errors import InvalidError
from sandbank.domain.sandbox import Sandbox

MAX_TOKENS = 5
_KIND = "JWT-SVID"


@dataclass(frozen=True, slots=True)
class IamToken:
    """A token that a client wants its sandbox to have; nothing of it is checked yet."""

    audience: str
    token_type: str


class IdentityMint(Protocol):
    """Issues tokens."""

    def issue(self, sandbox: Sandbox, audience: str) -> str: ...

    def key_set(self) -> Mapping[str, Any]:
        """RFC 7517: what verifies them."""

    def discovery(self) -> Mapping[str, Any]:
        """OpenID Connect Discovery: where the keys are."""


def check_iam(tokens: Mapping[str, IamToken], *, enabled: bool) -> dict[str, str]:
    """Audiences by name. `InvalidError` in the contract's words, for what is wrong before what is not offered."""
    if len(tokens) > MAX_TOKENS:
        raise InvalidError(f"iam.tokens: too many tokens: {len(tokens)} (max {MAX_TOKENS})")
    for name, token in tokens.items():
        if not name:
            raise InvalidError("iam.tokens: token name must not be empty")
        if not token.audience:
            raise InvalidError(f"iam.tokens.{name}.audience: audience is required")
        if token.token_type != _KIND:
            raise InvalidError(f'iam.tokens.{name}.tokenType: only "{_KIND}" is supported')
    if tokens and not enabled:
        raise InvalidError("Sandbox IAM workload tokens are not available for your team.")
    if sum(len(name) + len(token.audience) for name, token in tokens.items()) > 4096:
        raise InvalidError("iam.tokens: names and audiences have more than 4096 characters together")
    return {name: token.audience for name, token in tokens.items()}
