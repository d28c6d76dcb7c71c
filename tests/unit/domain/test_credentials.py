"""Vectors from the contract: other implementations must come to the same hashes."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.domain import development
from sandbank.domain.credentials import (
    ACCESS_TOKEN_PREFIX,
    API_KEY_PREFIX,
    Mask,
    SandboxTokens,
    hash_credential,
    mask_credential,
    new_access_token,
    new_api_key,
)


def test_seeded_credentials_hash_as_published() -> None:
    assert hash_credential(development.API_KEY, API_KEY_PREFIX) == "$sha256$RLrLQtatBzJCfetucGulV+lw+EZ/YXV1/3LBxlsAXYk"
    assert hash_credential(development.ACCESS_TOKEN, ACCESS_TOKEN_PREFIX) == "$sha256$wfnRCUXfDM3oHtm8Y/FiQ3UV+NKl0zS0qOTH6tUF1Bk"


def test_mask_shows_two_and_four() -> None:
    assert mask_credential(development.API_KEY, API_KEY_PREFIX) == Mask("e2b_", 32, "53", "dd90")


@pytest.mark.parametrize("raw", ["", "e2b_", "53ae", "e2b_xyz", "e2b_abc", "sk_e2b_ab", "e2b_ab cd", "e2b_ab\n", "e2b_à0"])
def test_other_texts_are_no_keys(raw: str) -> None:
    assert hash_credential(raw, API_KEY_PREFIX) is None


@given(st.binary(min_size=1, max_size=64))
def test_case_of_digits_does_not_matter(value: bytes) -> None:
    lower = hash_credential(API_KEY_PREFIX + value.hex(), API_KEY_PREFIX)
    assert lower is not None
    assert lower == hash_credential(API_KEY_PREFIX + value.hex().upper(), API_KEY_PREFIX)


def test_new_ones_are_well_formed_and_different() -> None:
    assert len(new_api_key()) == 4 + 40
    assert len(new_access_token()) == 7 + 40
    assert new_api_key() != new_api_key()
    assert hash_credential(new_access_token(), ACCESS_TOKEN_PREFIX) is not None


def test_tokens_derive_from_the_id() -> None:
    tokens = SandboxTokens("seed")
    assert tokens.envd("iabc") == hmac.new(b"seed", b"iabc", hashlib.sha256).hexdigest()
    assert tokens.traffic("iabc") == hmac.new(b"seed", b"sandbox-traffic-iabc", hashlib.sha256).hexdigest()
