"""A certificate authority of this installation's own, for one domain, and the certificate that it keeps fresh.

Whoever trusts it trusts it for little: name constraints (RFC 5280 §4.2.1.10) bind it to its domain and `localhost`, so that a stolen key
impersonates no other name. Another domain gets another authority. Like in `certificates`, `cryptography` is imported only where
something is made.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sandbank.artifacts.atomic import write_atomically
from sandbank.domain.errors import InternalError
from sandbank.servicekit.public_domain import PublicDomain

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 397  # browsers take up to 825 from an authority of one's own, and 398 from anybody
RENEW_DAYS = 132  # before the end: a third of the time is left for noticing that something keeps it from being renewed
_CLOCK_SKEW = timedelta(days=1)
_HOST_ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")
_RENEW_AFTER = re.compile(rb"^Renew after: (\S+)$", re.MULTILINE)


class LocalAuthority:
    """Files in one directory, for root alone but `certificate` and `bundle`, which are for clients.

    `certificate` is the authority's own. `bundle` has it behind everything that this machine trusts, for clients whose variable replaces
    the usual authorities instead of adding to them (contract sdk-latest §2.2: `SSL_CERT_FILE`). `server` is the port's pair.
    """

    def __init__(self, directory: Path, domain: PublicDomain) -> None:
        self.domain = domain
        self.certificate = directory / "ca.pem"
        self.bundle = directory / "bundle.pem"
        self.server = directory / "server.pem"
        self._key = directory / "ca.key"
        self._directory = directory

    def prepare(self, now: datetime | None = None) -> bool:
        """Make what is missing or soon at its end; True when the authority itself is new, so that clients have to be told.

        `InternalError` when the files are damaged; `OSError` when they cannot be written.
        """
        now = now or datetime.now(UTC)
        is_new = False
        if self._needs_server(now):
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            authority, is_new = self._get_authority(now)
            write_atomically(self.server, _issue(self.domain, authority, now), 0o600)
        self._write_bundle()
        return is_new

    def _needs_server(self, now: datetime) -> bool:
        try:
            renew_after = _RENEW_AFTER.search(self.server.read_bytes())
        except FileNotFoundError:
            return True
        try:
            return renew_after is None or not self.certificate.exists() or now >= datetime.fromisoformat(renew_after[1].decode())
        except (ValueError, TypeError):
            return True

    def _get_authority(self, now: datetime) -> tuple[_Authority, bool]:
        if self.certificate.exists() and self._key.exists():
            authority = _load(self.certificate, self._key)
            if authority[0].not_valid_after_utc > now + timedelta(days=CERTIFICATE_DAYS):
                return authority, False
        authority, certificate, key = _found(self.domain, now)
        self.certificate.unlink(missing_ok=True)  # or a crash between the two writes would leave a pair that is none
        write_atomically(self._key, key, 0o600)
        write_atomically(self.certificate, certificate, 0o644)
        return authority, True

    def _write_bundle(self) -> None:
        roots = _HOST_ROOTS.read_bytes() if _HOST_ROOTS.exists() else b""
        content = roots.rstrip(b"\n") + b"\n" + self.certificate.read_bytes()
        if not self.bundle.exists() or self.bundle.read_bytes() != content:
            write_atomically(self.bundle, content)


if TYPE_CHECKING:
    _Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _found(domain: PublicDomain, now: datetime) -> tuple[_Authority, bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    # The serial number tells authorities apart that were made for the same domain on different machines, or one after the other.
    serial = x509.random_serial_number()
    name = _name(f"Sandbank local CA for {domain.name}", organizational_unit=f"{serial:x}"[:12])
    # Names only: BoringSSL, and with it every gRPC client, refuses an authority that constrains addresses.
    permitted = [x509.DNSName(item) for item in dict.fromkeys((domain.name, "localhost"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (certificate, key), _pem(certificate), _key_pem(key)


def _issue(domain: PublicDomain, authority: _Authority, now: datetime) -> bytes:
    """Key and certificate in one file, so that a new pair replaces the old one at once."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    issuer, issuer_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in (domain.name, f"*.{domain.name}", "localhost")]
    names += [x509.IPAddress(ip_address("127.0.0.1")), x509.IPAddress(ip_address("::1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(domain.name if len(domain.name) <= 64 else "Sandbank"))  # X.520 allows no more
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    renew_after = now + timedelta(days=CERTIFICATE_DAYS - RENEW_DAYS)
    # Text between the blocks is for people (RFC 7468 §2), and for the next start, which then needs no parser of certificates.
    return b"Renew after: %s\n" % renew_after.isoformat(timespec="seconds").encode() + _key_pem(key) + _pem(certificate)


def _load(certificate: Path, key: Path) -> _Authority:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        authority = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (ValueError, TypeError) as error:
        raise InternalError(f"{certificate} or {key} is damaged: restore them, or remove both to have a new local CA made") from error
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.public_key() != authority.public_key():
        raise InternalError(f"{key} is not the key of {certificate}: restore it, or remove both to have a new local CA made")
    return authority, loaded


def _name(common_name: str, organizational_unit: str | None = None) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])]
    if organizational_unit is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, organizational_unit))
    return x509.Name(attributes)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
