"""The certificate of an installation's port, given or from its local CA, and what clients have to be told to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sandbank.cli.console import say
from sandbank.cli.installation import Installation
from sandbank.cli.preflight import require_root
from sandbank.cli.settings import NodeSettings
from sandbank.domain.errors import NotFoundError
from sandbank.proxy.local_authority import LocalAuthority
from sandbank.servicekit.public_domain import PublicDomain


@dataclass(frozen=True)
class Tls:
    """`authority` is the local CA that issued `certificate`; `None` when the operator gave one."""

    domain: PublicDomain
    certificate: Path
    authority: LocalAuthority | None


def current_tls(settings: NodeSettings) -> Tls:
    """Of the running services; of the next start when none run."""
    service = Installation(settings).find_service()
    if service is None or not service.domain:
        return planned_tls(settings)
    domain = PublicDomain.parse(service.domain)
    authority = LocalAuthority(Path(service.authority).parent, domain) if service.authority else None
    return Tls(domain, Path(service.certificate), authority)


def planned_tls(settings: NodeSettings) -> Tls:
    """What the settings say."""
    if settings.certificate is not None:
        return Tls(settings.public_domain, settings.certificate, None)
    authority = LocalAuthority(settings.local_ca_dir, settings.public_domain)
    return Tls(settings.public_domain, authority.server, authority)


def print_ca(settings: NodeSettings, *, bundle: bool, path: bool) -> None:
    """Print the local CA's certificate, or with everything else that this machine trusts, or where the file is.

    `NotFoundError` when there is none, or not yet.
    """
    require_root()
    tls = current_tls(settings)
    if tls.authority is None:
        raise NotFoundError(f"the certificate for {tls.domain} was given ({tls.certificate}): there is no local CA to trust")
    file = tls.authority.bundle if bundle else tls.authority.certificate
    if not file.exists():
        raise NotFoundError(f"there is no local CA for {tls.domain} yet: `sandbank up` makes it")
    say(str(file) if path else file.read_text().rstrip("\n"))
