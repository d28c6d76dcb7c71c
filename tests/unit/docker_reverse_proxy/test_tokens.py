"""Tokens, credentials and scopes (contract templates-and-data §1.1.2, §16)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.docker_reverse_proxy.core.credentials import parse_bearer, parse_password
from sandbank.docker_reverse_proxy.core.scope import parse_scope
from sandbank.docker_reverse_proxy.core.tokens import LIFETIME_SECONDS, TOKEN_BYTES, Tokens
from sandbank.domain.errors import DeniedError, InvalidError

SECRET = b"0123456789abcdef"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_a_token_lasts_two_hours_and_says_its_template() -> None:
    """128 bytes, base64, never twice the same."""
    now = 1_000_000.0
    tokens = Tokens(SECRET, lambda: now)
    token = tokens.issue("abc")
    assert len(base64.b64decode(token)) == TOKEN_BYTES
    assert token != tokens.issue("abc")
    assert tokens.find_template(token) == "abc"
    assert Tokens(SECRET, lambda: now).find_template(token) == "abc"  # another replica
    assert tokens.find_template(tokens.issue("")) == ""
    assert tokens.find_template(tokens.issue("x" * 63)) == "x" * 63
    now += LIFETIME_SECONDS
    assert tokens.find_template(token) is None


def test_a_token_of_another_secret_opens_nothing() -> None:
    """Nor one that was changed anywhere."""
    tokens = Tokens(SECRET, lambda: 0.0)
    assert Tokens(b"another secret..", lambda: 0.0).find_template(tokens.issue("abc")) is None
    raw = base64.b64decode(tokens.issue("abc"))
    for index in range(TOKEN_BYTES):
        changed = raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]
        assert tokens.find_template(base64.b64encode(changed).decode()) is None


@given(st.text(max_size=200))
def test_anything_else_is_no_token(text: str) -> None:
    """Whatever a client sends."""
    assert Tokens(SECRET, lambda: 0.0).find_template(text) is None


@pytest.mark.parametrize("password", ["sk_e2b_00", '"sk_e2b_00"', " sk_e2b_00\n", '"sk_e2b_00" \r\n'])
def test_quotes_and_spaces_around_the_password_do_not_count(password: str) -> None:
    """§16: `_e2b_access_token:"sk_e2b_…"` accepted."""
    assert parse_password(basic(f"_e2b_access_token:{password}")) == "sk_e2b_00"


@pytest.mark.parametrize(
    "authorization",
    [basic("_e2b_access_token:a:b"), basic("_e2b_access_token"), basic("user:a"), "Basic %%%", "Bearer a", "Basic", "", "Basic /w=="],
)
def test_other_credentials_are_invalid(authorization: str) -> None:
    """§16: an extra `:` → 400."""
    with pytest.raises(InvalidError):
        parse_password(authorization)


def test_a_bearer_is_found_whatever_its_scheme_is_spelt_like() -> None:
    """RFC 9110 §11.1."""
    assert parse_bearer("bearer  abc ") == "abc"
    assert parse_bearer("Basic abc") is None


def test_a_scope_names_one_template() -> None:
    """§16."""
    assert parse_scope(["repository:e2b/custom-envs/abc:push,pull", "repository:other:pull"]) == "abc"
    for text in (
        "repository:other/x:pull",
        "",
        "repository:e2b/custom-envs/abc",
        "repository:e2b/custom-envs/a:b:pull",
        "registry:catalog:*",
    ):
        with pytest.raises(InvalidError):
            parse_scope([text])
    for text in ("abc:delete", "abc:pull,delete", "../x:pull", "a/b:pull", "%61:pull", "A:pull", "x" * 64 + ":pull"):
        with pytest.raises(DeniedError):
            parse_scope([f"repository:e2b/custom-envs/{text}"])
