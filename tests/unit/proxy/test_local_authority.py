"""The local CA: made once, good for one domain, renewed by itself (contract sdk-latest §2.2)."""

from __future__ import annotations

import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from sandbank.domain.errors import InternalError
from sandbank.proxy import local_authority
from sandbank.proxy.certificates import load_context, read_facts
from sandbank.proxy.local_authority import LocalAuthority
from sandbank.servicekit.public_domain import PublicDomain

NOW = datetime.now(UTC)
LOCAL = PublicDomain.parse("sandbank.localhost:3002")


def shake_hands(server: ssl.SSLContext, trusted: Path, name: str) -> None:
    """A handshake in memory; raises what the client raises."""
    client = ssl.create_default_context(cafile=str(trusted))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ours.version() is not None


@pytest.mark.parametrize(
    "name", ["api.sandbank.localhost", "49983-iaaaaaaaaaaaaaaaaaaaa.sandbank.localhost", "localhost", "127.0.0.1", "::1"]
)
def test_clients_that_trust_it_accept_the_names_of_the_installation(tmp_path: Path, name: str) -> None:
    authority = LocalAuthority(tmp_path, LOCAL)
    authority.prepare()
    server = load_context(authority.server, authority.server)
    shake_hands(server, authority.certificate, name)
    shake_hands(server, authority.bundle, name)


def test_clients_that_do_not_trust_it_refuse(tmp_path: Path) -> None:
    authority, stranger = LocalAuthority(tmp_path / "a", LOCAL), LocalAuthority(tmp_path / "b", LOCAL)
    authority.prepare()
    stranger.prepare()
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(load_context(authority.server, authority.server), stranger.certificate, "api.sandbank.localhost")


@pytest.mark.parametrize("victim", ["api.example.com", "example.com"])
def test_a_stolen_key_impersonates_nobody_else(tmp_path: Path, victim: str) -> None:
    """Name constraints, RFC 5280 §4.2.1.10."""
    authority = LocalAuthority(tmp_path, LOCAL)
    authority.prepare()
    stolen = local_authority._load(tmp_path / "ca.pem", tmp_path / "ca.key")
    forged = tmp_path / "forged.pem"
    forged.write_bytes(local_authority._issue(PublicDomain.parse("example.com"), stolen, NOW))
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shake_hands(load_context(forged, forged), authority.certificate, victim)


def test_keys_are_for_root_alone_and_the_certificate_is_for_everybody(tmp_path: Path) -> None:
    authority = LocalAuthority(tmp_path / "tls" / "name", LOCAL)
    authority.prepare()
    modes = {file.name: file.stat().st_mode & 0o777 for file in authority.certificate.parent.iterdir()}
    assert modes == {"ca.key": 0o600, "server.pem": 0o600, "ca.pem": 0o644, "bundle.pem": 0o644}
    assert authority.certificate.parent.stat().st_mode & 0o777 == 0o700


def test_it_is_made_once_and_says_so_once(tmp_path: Path) -> None:
    assert LocalAuthority(tmp_path, LOCAL).prepare() is True
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert LocalAuthority(tmp_path, LOCAL).prepare() is False
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_start_that_makes_nothing_does_not_load_the_library_for_it(tmp_path: Path) -> None:
    LocalAuthority(tmp_path, LOCAL).prepare()
    program = (
        "import sys; from pathlib import Path; from sandbank.servicekit.public_domain import PublicDomain\n"
        "from sandbank.proxy.tls import local_certificate, LocalAuthority\n"
        f"local_certificate(LocalAuthority(Path({str(tmp_path)!r}), PublicDomain.parse('{LOCAL}')))()\n"
        "sys.exit('cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_certificate_is_renewed_well_before_its_end_by_the_same_authority(tmp_path: Path) -> None:
    authority = LocalAuthority(tmp_path, LOCAL)
    authority.prepare(NOW)
    ca, first = authority.certificate.read_bytes(), read_facts(authority.server)
    assert first.not_after - NOW <= timedelta(days=825), "browsers take no longer ones"
    assert authority.prepare(first.not_after - timedelta(days=140)) is False
    assert read_facts(authority.server) == first
    assert authority.prepare(first.not_after - timedelta(days=100)) is False
    assert read_facts(authority.server).not_after > first.not_after
    assert authority.certificate.read_bytes() == ca


def test_an_authority_near_its_end_is_replaced_and_that_is_said(tmp_path: Path) -> None:
    authority = LocalAuthority(tmp_path, LOCAL)
    authority.prepare(NOW)
    old = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    assert authority.prepare(old.not_valid_after_utc - timedelta(days=30)) is True
    new = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    assert new.not_valid_after_utc > old.not_valid_after_utc
    assert new.subject != old.subject, "a client that trusts both must be able to tell them apart"
    assert read_facts(authority.server).not_after < new.not_valid_after_utc


@pytest.mark.parametrize("name", ["server.pem", "ca.pem"])
def test_what_is_missing_is_made_again(tmp_path: Path, name: str) -> None:
    authority = LocalAuthority(tmp_path, LOCAL)
    authority.prepare()
    (tmp_path / name).unlink()
    authority.prepare()
    shake_hands(load_context(authority.server, authority.server), authority.certificate, "api.sandbank.localhost")


@pytest.mark.parametrize("content", [b"", b"rubbish", b"Renew after: soon\n"])
def test_a_damaged_server_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    authority = LocalAuthority(tmp_path, LOCAL)
    authority.prepare()
    authority.server.write_bytes(content)
    authority.prepare()
    shake_hands(load_context(authority.server, authority.server), authority.certificate, "api.sandbank.localhost")


def test_a_damaged_authority_is_not_replaced_behind_the_operators_back(tmp_path: Path) -> None:
    """Its clients would all have to trust another one: that is for the operator to decide."""
    authority = LocalAuthority(tmp_path, LOCAL)
    authority.prepare()
    for damage in (b"rubbish", authority.server.read_bytes()):
        (tmp_path / "ca.key").write_bytes(damage)
        authority.server.unlink()
        with pytest.raises(InternalError, match=r"ca\.key"):
            authority.prepare()
        authority.server.write_bytes(damage)


def test_the_bundle_holds_what_the_machine_trusts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`SSL_CERT_FILE` replaces the usual authorities: with ours alone, a program could talk to nobody else."""
    roots = tmp_path / "roots.crt"
    roots.write_text("first roots\n")
    monkeypatch.setattr(local_authority, "_HOST_ROOTS", roots)
    authority = LocalAuthority(tmp_path / "tls", LOCAL)
    authority.prepare()
    assert authority.bundle.read_bytes() == b"first roots\n" + authority.certificate.read_bytes()
    roots.write_text("other roots\n")
    authority.prepare()
    assert authority.bundle.read_bytes() == b"other roots\n" + authority.certificate.read_bytes()


def test_long_names_fit(tmp_path: Path) -> None:
    domain = PublicDomain.parse(".".join(["a" * 60] * 3) + ".example.com")
    authority = LocalAuthority(tmp_path, domain)
    authority.prepare()
    shake_hands(load_context(authority.server, authority.server), authority.certificate, domain.api_name)
