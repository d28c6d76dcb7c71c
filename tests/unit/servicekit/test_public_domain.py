"""Names of installations (contract sdk-latest §2.1: a port inside the domain works)."""

from __future__ import annotations

import pytest

from sandbank.domain.errors import InvalidError
from sandbank.servicekit.public_domain import PublicDomain


@pytest.mark.parametrize(
    ("text", "name", "port", "shown"),
    [
        ("sandboxes.example.com", "sandboxes.example.com", 443, "sandboxes.example.com"),
        ("sandboxes.example.com:443", "sandboxes.example.com", 443, "sandboxes.example.com"),
        ("Sandbank.LOCALHOST:3002", "sandbank.localhost", 3002, "sandbank.localhost:3002"),
        (" example.com. ", "example.com", 443, "example.com"),
    ],
)
def test_what_people_write_is_understood(text: str, name: str, port: int, shown: str) -> None:
    domain = PublicDomain.parse(text)
    assert (domain.name, domain.port, str(domain)) == (name, port, shown)
    assert domain.api_url == f"https://api.{shown}"


@pytest.mark.parametrize(
    "text",
    [
        *("", ":3002", "example.com:", "example.com:0", "example.com:65536", "example.com:٣", "https://example.com", "*.example.com"),
        *("a..b", "-a.b", "a_b.c", "a b.com", "a\n.com", "x" * 64 + ".com", ".".join(["abcdefgh"] * 30)),
        *("10.0.0.1", "10.0.0.1:443", "[::1]:443"),
    ],
)
def test_what_is_no_domain_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        PublicDomain.parse(text)
    assert "\n" not in caught.value.message


def test_a_single_label_is_refused_with_one_that_works() -> None:
    """OpenSSL and rustls take no wildcard directly below a top-level name."""
    with pytest.raises(InvalidError, match=r"use sandbank\.localhost"):
        PublicDomain.parse("localhost:3002")


@pytest.mark.parametrize(("text", "is_local"), [("sandbank.localhost", True), ("a.b.localhost:1", True), ("localhost.example.com", False)])
def test_names_under_localhost_are_known(text: str, is_local: bool) -> None:
    assert PublicDomain.parse(text).is_local is is_local
