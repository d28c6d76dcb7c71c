"""`sandbank health SERVICE`: whether a service on this machine is well, for engines that run a command to find out."""

from __future__ import annotations

import http.client
import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

_SECONDS = 4.0


class ServiceName(StrEnum):
    """As the commands that start them are called."""

    API = "api"
    CLIENT_PROXY = "client-proxy"
    DOCKER_REVERSE_PROXY = "docker-reverse-proxy"
    ORCHESTRATOR = "orchestrator"
    TEMPLATE_MANAGER = "template-manager"


def health(service: Annotated[ServiceName, typer.Argument(help="Which one.")]) -> None:
    """Say whether a service of this machine is well; exit code 1, and why, if it is not."""
    problem = find_problem(service)
    sys.stdout.write((problem or "healthy") + "\n")
    if problem:
        raise typer.Exit(1)


def find_problem(service: ServiceName) -> str | None:
    """Asks the service itself, at the port that this environment gives it. Blocks for seconds at most."""
    if service is ServiceName.API:
        from sandbank.api.settings import ApiSettings

        return _ask_http(service, ApiSettings().api_port)
    if service is ServiceName.CLIENT_PROXY:
        from sandbank.client_proxy.settings import ClientProxySettings

        # Its settings want a secret that this question does not need.
        os.environ.setdefault("EDGE_SECRET", "-")
        port = ClientProxySettings().health_port
        return "it has no health port: HEALTH_PORT is empty" if port is None else _ask_http(service, port)
    if service is ServiceName.DOCKER_REVERSE_PROXY:
        from sandbank.docker_reverse_proxy.settings import DockerReverseProxySettings

        return _ask_http(service, DockerReverseProxySettings().docker_reverse_proxy_port)
    return _ask_grpc(service)


def _ask_http(service: ServiceName, port: int) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        text = answer.read(1000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"the {service} does not answer at 127.0.0.1:{port}: {error or type(error).__name__}"
    finally:
        connection.close()
    return None if answer.status == 200 else f"the {service} answers {answer.status}: {text}"


def _ask_grpc(service: ServiceName) -> str | None:
    import asyncio

    from sandbank.domain.errors import SandbankError
    from sandbank.orchestrator.settings import OrchestratorSettings
    from sandbank.rpc.health import is_serving
    from sandbank.template_manager.settings import TemplateManagerSettings

    orchestrator = service is ServiceName.ORCHESTRATOR
    port = OrchestratorSettings().orchestrator_port if orchestrator else TemplateManagerSettings().template_manager_port
    try:
        serving = asyncio.run(is_serving(f"127.0.0.1:{port}", service, _SECONDS))
    except SandbankError as error:
        return error.message
    return None if serving else f"the {service} at 127.0.0.1:{port} does not serve"
