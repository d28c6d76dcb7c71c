"""`sandbank api`, `orchestrator` and so on: one service in the foreground, for an engine that runs many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sandbank.servicekit.service import Service


def api() -> None:
    """Run the API alone, set up by environment variables, until SIGTERM."""
    from sandbank.api.app import services

    _run("the API", services)


def client_proxy() -> None:
    """Run a client proxy alone, set up by environment variables, until SIGTERM. It needs REDIS_URL."""
    from sandbank.client_proxy.app import services

    _run("the client proxy", services)


def docker_reverse_proxy() -> None:
    """Run a Docker reverse proxy alone, set up by environment variables, until SIGTERM."""
    from sandbank.docker_reverse_proxy.app import services

    _run("the Docker reverse proxy", services)


def orchestrator() -> None:
    """Run this node's orchestrator, and its build service, set up by environment variables, until SIGTERM. As root."""
    from sandbank.cli.node import services

    _run("the orchestrator", services)


def template_manager() -> None:
    """Run a node that only builds templates, set up by environment variables, until SIGTERM. As root."""
    from sandbank.cli.node import services
    from sandbank.orchestrator.settings import BUILDS

    _run("the template manager", lambda: services(BUILDS))


def add_to(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    for command in (api, client_proxy, docker_reverse_proxy, orchestrator, template_manager):
        app.command()(command)


def _run(name: str, services: Callable[[], Sequence[Service]]) -> None:
    import structlog
    import uvloop

    from sandbank.cli.settings import NodeSettings
    from sandbank.orchestrator.settings import OrchestratorSettings
    from sandbank.servicekit import footing, logs
    from sandbank.servicekit.supervisor import Supervisor
    from sandbank.telemetry import pipeline
    from sandbank.telemetry.log_export import export_logs
    from sandbank.telemetry.settings import TelemetrySettings
    from sandbank.version import VERSION

    settings = NodeSettings()
    pipeline.configure(TelemetrySettings(), version=VERSION, node_id=OrchestratorSettings().node_id)
    logs.configure(settings.log_level, settings.log_json)
    export_logs()
    footing.allow_open_files()

    async def serve() -> None:
        await Supervisor(services(), stop_seconds=60).run(lambda: structlog.get_logger("sandbank").info("ready", service=name))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
    pipeline.close()
