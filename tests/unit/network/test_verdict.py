"""Precedence of a policy (rest-api §10.2, data-plane §11.3)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbank.runtime.driver import CLOSED, OPEN, EgressPolicy, EgressProxy, ProxyTls
from sandbank.runtime.network.egress.record import decode, encode
from sandbank.runtime.network.egress.verdict import Judge, Verdict, networks

ALLOWED, BY_NAME, DENIED = Verdict(allowed=True), Verdict(allowed=True, by_name=True), Verdict(allowed=False)
NAMES = EgressPolicy(("8.8.8.8/32",), ("0.0.0.0/0",), ("site.test", "*.wild.test"))


@pytest.mark.parametrize(
    ("policy", "name", "address", "verdict"),
    [
        (OPEN, None, "1.1.1.1", ALLOWED),
        (OPEN, "site.test", "1.1.1.1", ALLOWED),
        (CLOSED, "site.test", "1.1.1.1", DENIED),
        (EgressPolicy(allowed_cidrs=("1.1.1.1/32",)), None, "9.9.9.9", ALLOWED),
        (EgressPolicy(("1.1.1.0/24",), ("1.0.0.0/8",)), None, "1.1.1.1", ALLOWED),
        (EgressPolicy(("1.1.1.0/24",), ("1.0.0.0/8",)), None, "1.2.1.1", DENIED),
        (EgressPolicy(("1.1.1.0/24",), ("1.0.0.0/8",)), None, "2.2.1.1", ALLOWED),
        (NAMES, "site.test", "9.9.9.9", BY_NAME),
        (NAMES, "site.test", "8.8.8.8", BY_NAME),
        (NAMES, "www.site.test", "9.9.9.9", DENIED),
        (NAMES, "a.wild.test", "9.9.9.9", BY_NAME),
        (NAMES, "b.a.wild.test", "9.9.9.9", BY_NAME),
        (NAMES, "wild.test", "9.9.9.9", DENIED),
        (NAMES, "xwild.test", "9.9.9.9", DENIED),
        (NAMES, None, "9.9.9.9", DENIED),
        (NAMES, "other.test", "8.8.8.8", ALLOWED),
        (EgressPolicy(denied_cidrs=("0.0.0.0/0",), allowed_domains=("*",)), "any.test", "9.9.9.9", BY_NAME),
        (EgressPolicy(denied_cidrs=("0.0.0.0/0",), allowed_domains=("*",)), None, "9.9.9.9", DENIED),
        (EgressPolicy(transforms={"api.test": {"a": "b"}}), "api.test", "9.9.9.9", BY_NAME),
        (EgressPolicy(transforms={"api.test": {"a": "b"}}), "x.test", "9.9.9.9", ALLOWED),
        (EgressPolicy(denied_cidrs=("0.0.0.0/0",), transforms={"api.test": {"a": "b"}}), "api.test", "9.9.9.9", DENIED),
    ],
)
def test_verdicts(policy: EgressPolicy, name: str | None, address: str, verdict: Verdict) -> None:
    assert Judge(policy).of(name, address) == verdict


cidrs = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=20)
addresses = st.integers(0, 2**32 - 1)


def _text(number: int) -> str:
    return ".".join(str(part) for part in number.to_bytes(4, "big"))


@given(cidrs, cidrs, addresses)
def test_the_judge_agrees_with_the_rule_in_words(allowed: list[tuple[int, int]], denied: list[tuple[int, int]], address: int) -> None:
    def is_in(listed: list[tuple[int, int]]) -> bool:
        return any(number >> (32 - length) == address >> (32 - length) for number, length in listed)

    def cidrs_of(listed: list[tuple[int, int]]) -> tuple[str, ...]:
        return tuple(f"{_text(number)}/{length}" for number, length in listed)

    policy = EgressPolicy(cidrs_of(allowed), cidrs_of(denied))
    assert Judge(policy).of(None, _text(address)).allowed == (is_in(allowed) or not is_in(denied))


def test_networks_are_merged_and_ipv6_is_left_out() -> None:
    assert [str(one) for one in networks(("10.0.0.0/9", "10.128.0.0/9", "10.1.1.1/32", "::/0"))] == ["10.0.0.0/8"]


@pytest.mark.parametrize("document", [{}, {"proxy": 1}, {**encode(OPEN), "proxy": {}}, {**encode(OPEN), "allowed_cidrs": 1}])
def test_a_policy_that_cannot_be_read_allows_nothing(document: dict[str, object]) -> None:
    assert decode(document) == CLOSED


def test_a_record_keeps_all_of_a_policy() -> None:
    proxy = EgressProxy("h", 1, "u", "p", ProxyTls("n", "c"))
    for policy in (OPEN, CLOSED, NAMES, EgressPolicy(("1.1.1.1/32",), (), ("*",), proxy, {"a": {"b": "c"}})):
        assert decode(json.loads(json.dumps(encode(policy)))) == policy
