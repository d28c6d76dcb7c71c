"""The certificate of a port, exchanged while the port is served (contract sdk-latest §2.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from sandbank.domain.errors import InternalError
from sandbank.proxy import tls
from sandbank.proxy.certificates import read_facts
from sandbank.proxy.local_authority import LocalAuthority
from sandbank.proxy.tls import given_certificate, local_certificate
from sandbank.servicekit.public_domain import PublicDomain

DOMAIN = PublicDomain.parse("example.com")


@pytest.fixture(autouse=True)
def _look_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_LOOK_SECONDS", 0.0)


@pytest.fixture
def go_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[date], None]:
    """Makes it another day."""
    return lambda day: monkeypatch.setattr(tls, "_today", lambda: day)


def issue(directory: Path) -> Path:
    """A file with certificate and key."""
    authority = LocalAuthority(directory, DOMAIN)
    authority.prepare()
    return authority.server


def make_due(authority: LocalAuthority) -> None:
    """As if the port had been served for the better part of a year."""
    authority.server.write_bytes(re.sub(rb"Renew after: \S+", b"Renew after: 2020-01-01T00:00:00+00:00", authority.server.read_bytes()))


def test_a_renewed_pair_is_taken_without_a_restart(tmp_path: Path) -> None:
    pair = issue(tmp_path / "a")
    context = given_certificate(pair, pair, DOMAIN)
    first = context()
    assert context() is first
    issue(tmp_path / "b").replace(pair)
    assert context() is not first


def test_a_renewed_file_that_does_not_do_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    """Renewal replaces certificate and key one after the other: in between they do not belong together."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    for file in (certificate, key):
        file.write_bytes(issue(tmp_path / "a").read_bytes())
    context = given_certificate(certificate, key, DOMAIN)
    first = context()
    renewed = issue(tmp_path / "b").read_bytes()
    certificate.write_bytes(renewed)
    assert context() is first
    certificate.unlink()
    assert context() is first
    certificate.write_bytes(renewed)
    key.write_bytes(renewed)
    assert context() is not first


def test_a_link_that_leads_elsewhere_is_a_renewal(tmp_path: Path) -> None:
    """What certbot does."""
    link = tmp_path / "live.pem"
    link.symlink_to(issue(tmp_path / "a"))
    context = given_certificate(link, link, DOMAIN)
    first = context()
    link.unlink()
    link.symlink_to(issue(tmp_path / "b"))
    assert context() is not first


def test_the_local_certificate_is_renewed_while_it_is_served(tmp_path: Path, go_to: Callable[[date], None]) -> None:
    authority = LocalAuthority(tmp_path, DOMAIN)
    context = local_certificate(authority)
    first, facts = context(), read_facts(authority.server)
    today = datetime.now(UTC).date()
    go_to(today + timedelta(days=1))
    assert context() is first, "nothing is due"
    make_due(authority)
    context()  # the file is another one, with the same certificate
    before = authority.server.read_bytes()
    go_to(today + timedelta(days=2))
    renewed = context()
    assert renewed is not first
    assert authority.server.read_bytes() != before
    assert read_facts(authority.server).not_after >= facts.not_after


def test_a_renewal_that_fails_is_tried_again_the_next_day_and_serving_goes_on(
    tmp_path: Path, go_to: Callable[[date], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = LocalAuthority(tmp_path, DOMAIN)
    context = local_certificate(authority)
    first, tries = context(), []

    def fail() -> bool:
        tries.append(1)
        raise InternalError("the key is damaged")

    monkeypatch.setattr(authority, "prepare", fail)
    for days in (1, 1, 2):
        go_to(datetime.now(UTC).date() + timedelta(days=days))
        assert context() is first
    assert len(tries) == 2
