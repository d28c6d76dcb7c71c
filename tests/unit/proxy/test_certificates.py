"""Given certificates: what is wrong with one is found at the start, in one line (contract sdk-latest §2.2)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sandbank.domain.errors import InvalidError
from sandbank.proxy.certificates import CertificateFacts, load_checked, load_context, read_facts
from sandbank.proxy.local_authority import LocalAuthority
from sandbank.servicekit.public_domain import PublicDomain

NOW = datetime.now(UTC)
NAMES = ("api.example.com", "*.example.com")


def issue(directory: Path, domain: str = "example.com", now: datetime = NOW) -> Path:
    """A file with certificate and key for a domain."""
    authority = LocalAuthority(directory, PublicDomain.parse(domain))
    authority.prepare(now)
    return authority.server


def facts(*names: str, starts: timedelta = timedelta(days=-1), ends: timedelta = timedelta(days=1)) -> CertificateFacts:
    return CertificateFacts(names, "somebody", NOW + starts, NOW + ends)


@pytest.mark.parametrize("names", [("*.example.com",), ("example.com", "*.example.com"), ("*.example.com", "api.example.com")])
def test_a_wildcard_covers_the_api_and_the_sandboxes(names: tuple[str, ...]) -> None:
    assert facts(*names).find_problem(NAMES, NOW) is None


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("api.example.com",), r"\*\.example\.com"),
        (("*.other.com",), r"api\.example\.com and \*\.example\.com"),
        (("*.com",), r"\*\.example\.com"),
        (("example.com",), r"\*\.example\.com"),
        ((), "no name at all"),
    ],
)
def test_what_a_certificate_does_not_cover_is_named(names: tuple[str, ...], missing: str) -> None:
    problem = facts(*names).find_problem(NAMES, NOW)
    assert problem is not None
    assert re.search(missing, problem), problem


def test_a_certificate_of_another_time_is_refused() -> None:
    assert "expired" in (facts("*.example.com", ends=timedelta(0)).find_problem(NAMES, NOW) or "")
    assert "only from" in (facts("*.example.com", starts=timedelta(seconds=1)).find_problem(NAMES, NOW) or "")


def test_a_good_pair_is_taken(tmp_path: Path) -> None:
    pair = issue(tmp_path)
    load_checked(pair, pair, NAMES)


def refusal(certificate: Path, key: Path) -> str:
    with pytest.raises(InvalidError) as caught:
        load_checked(certificate, key, NAMES)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    assert "another certificate" in refusal(issue(tmp_path / "a"), issue(tmp_path / "b"))


def test_a_certificate_for_another_domain_is_refused(tmp_path: Path) -> None:
    pair = issue(tmp_path, "other.com")
    assert "does not cover" in refusal(pair, pair)


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    pair = issue(tmp_path, now=NOW - timedelta(days=1000))
    assert "expired" in refusal(pair, pair)


def test_files_that_are_missing_or_something_else_are_named(tmp_path: Path) -> None:
    pair, text = issue(tmp_path), tmp_path / "text.pem"
    text.write_text("hello\n")
    assert "nowhere.pem" in refusal(tmp_path / "nowhere.pem", pair)
    assert "nowhere.pem" in refusal(pair, tmp_path / "nowhere.pem")
    assert "text.pem" in refusal(text, pair)
    assert "text.pem" in refusal(pair, text)
    assert str(tmp_path) in refusal(tmp_path, pair)
    with pytest.raises(InvalidError, match=r"text\.pem"):
        read_facts(text)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_the_password(tmp_path: Path) -> None:
    pair, key = issue(tmp_path), tmp_path / "encrypted.key"
    pem = serialization.BestAvailableEncryption(b"secret")
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, pem)
    )
    with pytest.raises(InvalidError, match="encrypted"):
        load_context(pair, key)
