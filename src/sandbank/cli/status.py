"""`sandbank status`: whether the services run, and what they run."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from sandbank.cli.console import say
from sandbank.cli.installation import Installation
from sandbank.cli.preflight import require_root
from sandbank.cli.settings import NodeSettings
from sandbank.cli.tls import current_tls
from sandbank.domain.errors import SandbankError
from sandbank.proxy.certificates import CertificateFacts, read_facts
from sandbank.rpc.orchestrator import OrchestratorClient
from sandbank.version import VERSION


@dataclass(frozen=True)
class Status:
    """The state of one installation; `healthy` and `sandboxes` are asked for over the network, not read from notes."""

    running: bool
    healthy: bool
    version: str
    pid: int | None
    started_at: str | None
    api_url: str
    sandbox_url: str
    domain: str
    certificate: str
    certificate_issuer: str | None
    certificate_expires_at: str | None
    sandboxes: int | None
    data_dir: str
    log_file: str
    problem: str


def status(settings: NodeSettings, *, as_json: bool) -> bool:
    """Print it; True when the services run and answer."""
    require_root()
    found = asyncio.run(read_status(settings))
    if as_json:
        say(json.dumps(asdict(found), indent=2))
        return found.healthy
    say("Running and healthy." if found.healthy else "Running, but not healthy." if found.running else "Not running.")
    rows = {
        "Problem": found.problem,
        "Process": f"{found.pid}, since {found.started_at}" if found.pid else "",
        "API": found.api_url,
        "Sandboxes": f"{found.sandbox_url} ({'?' if found.sandboxes is None else found.sandboxes} running)",
        "Domain": found.domain,
        "TLS": f"by {found.certificate_issuer}, until {found.certificate_expires_at}" if found.certificate_issuer else "",
        "Data": found.data_dir,
        "Log": found.log_file,
    }
    for name, value in rows.items():
        if value:
            say(f"  {name:<10} {value}")
    return found.healthy


async def read_status(settings: NodeSettings) -> Status:
    """Ask the lock, the API and the orchestrator."""
    installation = Installation(settings)
    service = installation.find_service()
    problem, sandboxes = "", None
    if service is not None:
        problem = await asyncio.to_thread(_api_problem, service.api_url)
        client = OrchestratorClient(settings.orchestrator_address)
        try:
            sandboxes = len((await client.list()).sandboxes)
        except SandbankError as error:
            problem = problem or f"the orchestrator: {error.message}"
        finally:
            await client.close()
    elif installation.is_held():
        problem = "it is starting, or another command is at work"
    elif installation.last_service() is not None:
        problem = "the service ended without `sandbank down`; sandboxes may still run: `sandbank up` adopts them"
    tls = current_tls(settings)
    facts = _find_facts(tls.certificate)
    return Status(
        running=service is not None,
        healthy=service is not None and not problem,
        version=VERSION,
        pid=service.pid if service else None,
        started_at=service.started_at if service else None,
        api_url=service.api_url if service else settings.api_url,
        sandbox_url=service.sandbox_url if service else settings.sandbox_url,
        domain=str(tls.domain),
        certificate=str(tls.certificate),
        certificate_issuer=facts.issuer if facts else None,
        certificate_expires_at=facts.not_after.isoformat() if facts else None,
        sandboxes=sandboxes,
        data_dir=str(settings.data_dir),
        log_file=str(settings.log_file),
        problem=problem,
    )


def _find_facts(certificate: Path) -> CertificateFacts | None:
    try:
        return read_facts(certificate)
    except SandbankError:
        return None  # `doctor` says what is wrong with it


def _api_problem(api_url: str) -> str:
    parts = urlsplit(api_url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", "/health")
        code = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return f"the API does not answer: {error}"
    finally:
        connection.close()
    return "" if code == 200 else f"the API's health is {code}"
