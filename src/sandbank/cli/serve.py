"""Running the services of an installation until they are told to end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime

import uvloop

from sandbank.cli.accounts import prepare_accounts
from sandbank.cli.credentials import Credentials
from sandbank.cli.embedded import build_services
from sandbank.cli.installation import Installation, RunningService
from sandbank.cli.tls import planned_tls
from sandbank.orchestrator.settings import OrchestratorSettings
from sandbank.servicekit import footing, logs
from sandbank.servicekit.supervisor import Supervisor
from sandbank.telemetry import pipeline
from sandbank.telemetry.log_export import export_logs
from sandbank.telemetry.settings import TelemetrySettings
from sandbank.version import VERSION

OnReady = Callable[[Credentials], None]


def serve(installation: Installation, revision: str, on_ready: OnReady) -> None:
    """Block until a signal or the end of a service; the lock must be held.

    `revision` names what the base template is made of. `on_ready` is called in the event loop once requests are answered. Raises what kept
    a service from starting or ended it.
    """
    settings = installation.settings
    pipeline.configure(TelemetrySettings(), version=VERSION, node_id=OrchestratorSettings().node_id)
    logs.configure(settings.log_level, settings.log_json)
    export_logs()
    footing.allow_open_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(installation, revision, on_ready))
    pipeline.close()
    if installation.take_end_request():
        installation.forget()


async def _serve(installation: Installation, revision: str, on_ready: OnReady) -> None:
    settings = installation.settings
    credentials = await prepare_accounts(settings)

    def ready() -> None:
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        footing.settle_memory()
        tls = planned_tls(settings)
        installation.note(
            RunningService(
                os.getpid(),
                started_at,
                settings.api_url,
                settings.sandbox_url,
                domain=str(tls.domain),
                certificate=str(tls.certificate),
                authority="" if tls.authority is None else str(tls.authority.certificate),
            )
        )
        on_ready(credentials)

    services = build_services(settings, credentials, revision, installation.take_end_request)
    await Supervisor(services, stop_seconds=60).run(ready)
