"""The TLS context that a port offers, exchanged while it is served."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Hashable
from datetime import UTC, date, datetime
from pathlib import Path

import structlog

from sandbank.domain.errors import SandbankError
from sandbank.proxy.certificates import load_checked, load_context
from sandbank.proxy.local_authority import LocalAuthority
from sandbank.servicekit.public_domain import PublicDomain

_LOOK_SECONDS = 2.0

logger = structlog.get_logger(__name__)


class FreshContext:
    """Called for every connection; loads again when `version` has changed. What cannot be loaded is logged, and the old context stays."""

    def __init__(self, load: Callable[[], ssl.SSLContext], version: Callable[[], Hashable]) -> None:
        self._load = load
        self._find_version = version
        self._version = version()
        self._context = load()
        self._looked_at = time.monotonic()

    def __call__(self) -> ssl.SSLContext:
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._look()
        return self._context

    def _look(self) -> None:
        try:
            version = self._find_version()
            if version == self._version:
                return
            self._version = version
            self._context = self._load()
        except (SandbankError, OSError) as error:
            logger.error("no renewed certificate, the old one stays", reason=str(error))
        else:
            logger.info("took the renewed certificate")


def given_certificate(certificate: Path, key: Path, domain: PublicDomain | None) -> FreshContext:
    """From two files that somebody else renews; with `domain` they have to suit it. `InvalidError` when they do not do."""
    names = () if domain is None else (domain.api_name, f"*.{domain.name}")
    return FreshContext(lambda: load_checked(certificate, key, names), lambda: (_state(certificate), _state(key)))


def local_certificate(authority: LocalAuthority) -> FreshContext:
    """From the local authority, which is asked once a day whether it is time for a new one."""
    asked_on: date | None = None

    def version() -> Hashable:
        nonlocal asked_on
        if asked_on != (today := _today()):
            asked_on = today
            authority.prepare()
        return _state(authority.server)

    return FreshContext(lambda: load_context(authority.server, authority.server), version)


def _today() -> date:
    return datetime.now(UTC).date()


def _state(file: Path) -> Hashable:
    try:
        found = file.stat()
    except OSError:
        return None  # being exchanged at this moment
    return found.st_ino, found.st_mtime_ns, found.st_size
