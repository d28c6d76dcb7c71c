"""Running the services of an installation until they are told to end, and telling whoever started them how the start went."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from sandbank.artifacts.builds import Build
from sandbank.cli.accounts import prepare_accounts
from sandbank.cli.credentials import Credentials
from sandbank.cli.embedded import build_services
from sandbank.cli.installation import Installation, RunningService
from sandbank.servicekit import logs
from sandbank.servicekit.supervisor import Supervisor

OnReady = Callable[[Credentials], None]


def serve(installation: Installation, build: Build, on_ready: OnReady) -> None:
    """Block until a signal or the end of a service; the lock must be held.

    `on_ready` is called in the event loop once requests are answered. Raises what kept a service from starting or ended it.
    """
    settings = installation.settings
    logs.configure(settings.log_level, settings.log_json)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(installation, build, on_ready))
    if installation.take_end_request():
        installation.forget()


async def _serve(installation: Installation, build: Build, on_ready: OnReady) -> None:
    settings = installation.settings
    credentials = await prepare_accounts(settings, build)

    def ready() -> None:
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        installation.note(RunningService(os.getpid(), started_at, settings.api_url, settings.sandbox_url))
        on_ready(credentials)

    services = build_services(settings, credentials, installation.take_end_request)
    await Supervisor(services, stop_seconds=60).run(ready)


@dataclass(frozen=True)
class Handover:
    """How the start of a detached service went, as one line of JSON through a pipe; the pipe's end without it means it died."""

    error: str = ""
    credentials: Credentials | None = None

    def write(self, descriptor: int) -> None:
        """Say it, once."""
        credentials = None if self.credentials is None else {**vars(self.credentials)}
        with os.fdopen(descriptor, "w") as pipe:
            json.dump({"error": self.error, "credentials": credentials}, pipe)

    @classmethod
    def read(cls, descriptor: int) -> Handover | None:
        """Wait for it; `None` when the service died without a word."""
        with os.fdopen(descriptor) as pipe:
            text = pipe.read()
        if not text:
            return None
        fields = json.loads(text)
        return cls(fields["error"], Credentials(**fields["credentials"]) if fields["credentials"] else None)


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a log, for the text of a failure."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""
