"""What a certificate says, and whether it suits a domain.

`cryptography` is imported where it is used: it takes longer to load than a warm start may wait for it.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sandbank.domain.errors import InvalidError

ALPN = ("h2", "http/1.1")  # both: clients read files in HTTP/1.1 whatever else they speak (contract sdk-latest §2.4)


@dataclass(frozen=True)
class CertificateFacts:
    """What people want to know of a certificate; `names` are its DNS names."""

    names: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime

    def covers(self, name: str) -> bool:
        """Whether clients accept it for this host, or, with `*.` in front, for all hosts directly below."""
        return any(name == own or (own.startswith("*.") and name.partition(".")[2] == own[2:]) for own in self.names)

    def find_problem(self, names: Sequence[str], now: datetime) -> str | None:
        """Why clients would refuse it for one of `names`, if they would."""
        if now >= self.not_after:
            return f"it has expired ({self.not_after:%Y-%m-%d})"
        if now < self.not_before:
            return f"it is valid only from {self.not_before:%Y-%m-%d %H:%M} UTC on"
        missing = [name for name in names if not self.covers(name)]
        if missing:
            return f"it does not cover {' and '.join(missing)} (but {', '.join(self.names) or 'no name at all'})"
        return None


def read_facts(file: Path) -> CertificateFacts:
    """The facts of the first certificate in a PEM file; `InvalidError` names the file."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []  # clients have not looked at anything else for years
    except OSError as error:
        raise InvalidError(f"the certificate {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidError(f"{file} holds no certificate in PEM form") from error
    issuer = certificate.issuer
    wanted = issuer.get_attributes_for_oid(NameOID.COMMON_NAME) or issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return CertificateFacts(
        names=tuple(name.lower() for name in names),
        issuer=str(wanted[0].value) if wanted else issuer.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def load_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's context; `InvalidError` when the files cannot be read or do not belong together."""
    for what, file in (("certificate", certificate), ("key", key)):
        try:
            file.open("rb").close()
        except OSError as error:
            raise InvalidError(f"the {what} {file} cannot be read: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(ALPN))
    context.options |= ssl.OP_NO_RENEGOTIATION
    # A ticket that arrives while another thread of a Python client writes costs it what it writes (websockets.sync, and others).
    context.num_tickets = 0
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        raise InvalidError(f"{certificate} and {key} are not a certificate and its key: {_reason(error)}") from error
    except _EncryptedKeyError as error:
        raise InvalidError(f"the key {key} is encrypted: a service that starts by itself needs it without a password") from error
    return context


def load_checked(certificate: Path, key: Path, names: Sequence[str]) -> ssl.SSLContext:
    """A server's context with a certificate that suits `names` now; `InvalidError` says in one line what is wrong."""
    context = load_context(certificate, key)
    if problem := read_facts(certificate).find_problem(names, datetime.now(UTC)):
        raise InvalidError(f"the certificate {certificate} does not do: {problem}")
    return context


class _EncryptedKeyError(Exception):
    pass


def _no_password() -> str:
    raise _EncryptedKeyError  # without this, OpenSSL would ask the terminal


def _reason(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key belongs to another certificate"
    return (error.reason or "no certificate or key in PEM form").replace("_", " ").lower()
