"""What clients that know the domain will meet: names that resolve, and a certificate that they accept."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta

from sandbank.cli.check import Check, ok, warn
from sandbank.cli.installation import Installation
from sandbank.cli.names import find_addresses, find_problem
from sandbank.cli.settings import NodeSettings
from sandbank.cli.tls import Tls, current_tls
from sandbank.domain.errors import SandbankError
from sandbank.proxy.certificates import read_facts

_COSTS = "E2B_DOMAIN and addresses of sandboxes by name do not work; E2B_API_URL with E2B_SANDBOX_URL does"
_SOON = timedelta(days=21)  # whoever renews automatically has done so by then


def names(settings: NodeSettings) -> Check:
    """Whether names below the domain resolve here."""
    domain = current_tls(settings).domain
    if problem := find_problem(domain):
        found, _, fix = problem.partition(": ")
        return warn("names", found, costs=_COSTS, fix=fix)
    return ok("names", f"*.{domain.name} is {', '.join(find_addresses(domain.api_name))}")


def certificate(settings: NodeSettings) -> Check:
    """Whether clients accept the certificate: by its text, and, while the services run, by a handshake."""
    tls = current_tls(settings)
    if tls.authority is not None and not tls.certificate.exists():
        return ok("certificate", f"the next `sandbank up` makes a local CA for {tls.domain.name}")
    fix = "give another with --certificate and --key" if tls.authority is None else "restart Sandbank, which makes another"
    now = datetime.now(UTC)
    try:
        facts = read_facts(tls.certificate)
    except SandbankError as error:
        return warn("certificate", error.message, costs=_COSTS, fix=fix)
    if problem := facts.find_problem((tls.domain.api_name, f"*.{tls.domain.name}"), now):
        return warn("certificate", problem, costs=_COSTS, fix=fix)
    found = f"for *.{tls.domain.name} by {facts.issuer}, until {facts.not_after:%Y-%m-%d}"
    if facts.not_after - now < _SOON:
        return warn(
            "certificate", found, costs=f"from then on {_COSTS}", fix=f"renew {tls.certificate}; a new file is taken without a restart"
        )
    service = Installation(settings).find_service()
    if service is not None and (problem := _handshake_problem(tls, service.sandbox_url)):
        return warn("certificate", problem, costs=_COSTS, fix="see the log of the services")
    return ok("certificate", found)


def _handshake_problem(tls: Tls, sandbox_url: str) -> str | None:
    """What a client that trusts the right authorities says to the running port."""
    from urllib.parse import urlsplit

    parts = urlsplit(sandbox_url)
    context = ssl.create_default_context(cafile=None if tls.authority is None else str(tls.authority.certificate))
    name = f"49983-probe.{tls.domain.name}"
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=5) as plain:
            context.wrap_socket(plain, server_hostname=name).close()
    except ssl.SSLCertVerificationError as error:
        return f"this machine does not accept it for {name}: {error.verify_message}"
    except OSError as error:
        return f"{sandbox_url} takes no TLS: {error}"
    return None
