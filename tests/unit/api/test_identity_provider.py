"""Which JWTs prove who somebody is, and which do not (REST contract §3.1, §3.2)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import RSAAlgorithm

from sandbank.api.adapters.identity_provider import IdentityProvider, ProviderSettings
from sandbank.api.core.ports import Identity
from sandbank.domain.errors import InvalidError, UnauthenticatedError, UnavailableError
from tests.product.identity_provider import AUDIENCE, ISSUER, Provider, forge

SETTINGS = ProviderSettings(ISSUER, (AUDIENCE,))


class Clock:
    """Time that passes when told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def made() -> Provider:
    return Provider()  # an RSA key takes its time


@pytest.fixture
def provider(made: Provider) -> Provider:
    fresh = Provider.__new__(Provider)
    fresh.__dict__.update(made.__dict__)
    fresh.keys, fresh.discovery, fresh.requests, fresh.is_down = list(made.keys), dict(made.discovery), [], False
    return fresh


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def identities(provider: Provider, clock: Clock) -> AsyncIterator[IdentityProvider]:
    identities = IdentityProvider(SETTINGS, provider.client(), clock)
    yield identities
    await identities.close()


async def test_a_providers_token_says_who_somebody_is(provider: Provider, identities: IdentityProvider) -> None:
    for token in (
        provider.token(),
        provider.token(kid="ec-1", algorithm="ES256"),
        provider.token(kid=None),
        provider.token(aud=["other", AUDIENCE]),
        provider.token(exp=int(time.time()) - 10),  # within the skew
        provider.token(nbf=int(time.time()) + 10),
    ):
        assert await identities.verify(token) == Identity(ISSUER, "me")
    assert provider.requests == ["/.well-known/openid-configuration", "/keys"]


async def test_tokens_that_prove_nothing_are_refused(provider: Provider, identities: IdentityProvider) -> None:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "me", "exp": now + 600}
    public = provider.rsa.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with_secret = forge({"alg": "HS256", "kid": "rsa-1"}, claims)
    signed = with_secret.rpartition(".")[0]
    mac = hmac.new(public, signed.encode(), hashlib.sha256).digest()
    stranger = ec.generate_private_key(ec.SECP256R1())
    refused = {
        "alg none": forge({"alg": "none", "kid": "rsa-1"}, claims),
        "alg None": forge({"alg": "None"}, claims),
        "a public key as a password": forge({"alg": "HS256", "kid": "rsa-1"}, claims, mac),
        "another issuer": provider.token(iss="https://issuer.test"),
        "another audience": provider.token(aud="other"),
        "no audience": provider.token(aud=None),
        "no issuer": provider.token(iss=None),
        "no end": provider.token(exp=None),
        "no subject": provider.token(sub=None),
        "an empty subject": provider.token(""),
        "an endless subject": provider.token("x" * 256),
        "a subject that ends early": provider.token("me\0other"),
        "ended": provider.token(exp=now - 60),
        "not begun": provider.token(nbf=now + 60),
        "a stranger's signature": provider.token(kid="ec-1", algorithm="ES256", key=stranger),
        "a key brought along": forge({"alg": "ES256", "jwk": provider.keys[1], "kid": "mine"}, claims, b"x" * 64),
        "an algorithm that is not allowed": provider.token(algorithm="RS512"),
        "another kind of key": provider.token(kid="ec-1"),
        "critical extensions": forge({"alg": "RS256", "kid": "rsa-1", "crit": ["b64"], "b64": False}, claims, b"x"),
        "no token": "x",
        "nothing": "",
        "dots": "..",
        "a long token": "a." * 20_000,
        "letters of another script": "\u0430.b.c",
        "a list for a key's name": forge({"alg": "RS256", "kid": ["rsa-1"]}, claims, b"x"),
        "no object": forge({"alg": "RS256", "kid": "rsa-1"}, [], b"x"),  # type: ignore[arg-type]
    }
    accepted = []
    for case, token in refused.items():
        with suppress(UnauthenticatedError):
            await identities.verify(token)
            accepted.append(case)
    assert not accepted


@pytest.mark.parametrize("flaw", ["private", "weak", "for encryption", "for another algorithm", "damaged"])
async def test_keys_that_are_not_for_this_are_not_used(provider: Provider, identities: IdentityProvider, flaw: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024 if flaw == "weak" else 2048)
    jwk = provider.public("odd", key)
    if flaw == "private":
        jwk = RSAAlgorithm.to_jwk(key, as_dict=True) | {"kid": "odd"}
        jwk.pop("key_ops")
    if flaw == "for encryption":
        jwk |= {"use": "enc"}
    if flaw == "for another algorithm":
        jwk |= {"alg": "RS512"}
    if flaw == "damaged":
        jwk |= {"n": 7}
    provider.keys = [jwk, "nonsense"]  # type: ignore[list-item]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the short key, from the library that signs with it here
        token = provider.token(kid="odd", key=key)
    with pytest.raises(UnauthenticatedError):
        await identities.verify(token)


async def test_a_new_key_is_found_and_made_up_names_are_no_flood(provider: Provider, identities: IdentityProvider, clock: Clock) -> None:
    await identities.verify(provider.token())
    key = ec.generate_private_key(ec.SECP256R1())
    provider.keys = [provider.public("ec-2", key)]
    clock.now += 60
    await identities.verify(provider.token(kid="ec-2", algorithm="ES256", key=key))
    assert provider.requests.count("/keys") == 2
    for number in range(50):
        with pytest.raises(UnauthenticatedError):
            await identities.verify(provider.token(kid=f"made-up-{number}"))
    assert provider.requests.count("/keys") == 2
    with pytest.raises(UnauthenticatedError):
        await identities.verify(provider.token())  # rotated out


async def test_many_first_tokens_fetch_once(provider: Provider, identities: IdentityProvider) -> None:
    await asyncio.gather(*(identities.verify(provider.token()) for _ in range(20)))
    assert provider.requests.count("/keys") == 1


async def test_known_keys_outlive_a_provider_that_is_away(provider: Provider, identities: IdentityProvider, clock: Clock) -> None:
    provider.is_down = True
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await identities.verify(provider.token())
    assert len(provider.requests) == 1
    provider.is_down = False
    clock.now += 11
    await identities.verify(provider.token())
    provider.is_down = True
    clock.now += 7200
    await identities.verify(provider.token())


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://another.test/", "jwks_uri": "https://issuer.test/keys"},
        {"issuer": ISSUER, "jwks_uri": "http://issuer.test/keys"},
        {"issuer": ISSUER},
    ],
)
async def test_a_discovery_document_that_cannot_be_trusted_is_none(
    provider: Provider, identities: IdentityProvider, discovery: dict[str, str]
) -> None:
    provider.discovery = discovery
    with pytest.raises(UnavailableError):
        await identities.verify(provider.token())


@pytest.mark.parametrize(
    "changes",
    [
        {"audiences": ()},
        {"algorithms": ("none",)},
        {"algorithms": ("RS256", "HS256")},
        {"algorithms": ()},
        {"issuer": "file:///etc/passwd"},
        {"jwks_url": "keys"},
    ],
)
def test_settings_that_cannot_be_safe_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidError, match="SANDBANK_OIDC_"):
        IdentityProvider(replace(SETTINGS, **changes))  # type: ignore[arg-type]
