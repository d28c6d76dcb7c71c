"""The node's own certificate authority, for names whose requests get headers; trusted only by sandboxes with such rules."""

from __future__ import annotations

import os
import ssl
import tempfile
import time
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sandbank.domain.errors import InvalidError

_YEARS = timedelta(days=3650)
_RENEWED_BEFORE = timedelta(days=30)
_LEAF_LIFETIME = timedelta(days=7)
_LEAF_KEPT_SECONDS = 24 * 3600.0
_KEPT = 1024
_EARLY = timedelta(hours=1)  # clocks differ


class Authority:
    """Signs a certificate for any name. The key never leaves this process and its file, which only root reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: ec.EllipticCurvePrivateKey
        self._certificate: x509.Certificate
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._contexts: OrderedDict[str, tuple[float, ssl.SSLContext]] = OrderedDict()

    def open(self) -> None:
        """Load it, or make it. `InvalidError` when the file holds something else."""
        if not self._load():
            self._make()

    @property
    def pem(self) -> str:
        """Its certificate, for sandboxes to trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def context_for(self, name: str) -> ssl.SSLContext:
        """A server's side of TLS for that name, HTTP/1.1 only. About a millisecond for a new name."""
        made, context = self._contexts.pop(name, (0.0, None))
        now = time.monotonic()
        if context is None or now - made > _LEAF_KEPT_SECONDS:
            made, context = now, self._make_context(name)
        self._contexts[name] = made, context
        if len(self._contexts) > _KEPT:
            self._contexts.popitem(last=False)
        return context

    def _make_context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Frames of other versions are none that headers could be put into.
        context.set_alpn_protocols(["http/1.1"])
        descriptor = os.memfd_create("leaf", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, _private(self._leaf_key) + self._leaf(name).public_bytes(serialization.Encoding.PEM))
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return context

    def _leaf(self, name: str) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sandbank")]))
            .issuer_name(self._certificate.subject)
            .public_key(self._leaf_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLY)
            .not_valid_after(now + _LEAF_LIFETIME)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _load(self) -> bool:
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return False
        try:
            key = serialization.load_pem_private_key(raw, None)
            certificate = x509.load_pem_x509_certificate(raw)
        except ValueError as error:
            raise InvalidError(f"{self._path} is no key with its certificate: remove it, and a new one is made") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise InvalidError(f"{self._path} has a key of the wrong kind: remove it, and a new one is made")
        if certificate.not_valid_after_utc - datetime.now(UTC) < _RENEWED_BEFORE:
            return False
        self._key, self._certificate = key, certificate
        return True

    def _make(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sandbank egress of one node")])
        now, public = datetime.now(UTC), self._key.public_key()
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLY)
            .not_valid_after(now + _YEARS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=True,
                    crl_sign=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        # In one file and renamed: there is never a key without its certificate.
        descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(_private(self._key) + self.pem.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
