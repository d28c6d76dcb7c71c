"""What the commands themselves need to know of an installation; each service reads the rest of its settings by itself."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sandbank.domain.errors import InvalidError
from sandbank.servicekit.public_domain import PublicDomain

LOCAL_NAME = "sandbank.localhost"
"""The domain without configuration. Two labels: clients refuse a certificate for `*.localhost`."""


class NodeSettings(BaseSettings):
    """One installation on one machine, all services in one process."""

    model_config = SettingsConfigDict(env_prefix="SANDBANK_", extra="ignore")

    data_dir: Path = Field(default=Path("/var/lib/sandbank"), description="What outlives restarts: templates, sandboxes, accounts, logs.")
    run_dir: Path = Field(default=Path("/run/sandbank"), description="Sockets and state that must not outlive a reboot.")
    bind: str = Field(
        default="127.0.0.1", description="Address of the API and of the client proxy. Anything but loopback: keys are generated."
    )
    orchestrator_bind: str = Field(default="127.0.0.1", description="Address of the orchestrator's gRPC and of its sandbox proxy.")
    api_port: int = Field(default=3000, ge=1, le=65535, description="TCP port of the REST API.")
    edge_port: int = Field(default=3001, ge=1, le=65535, description="TCP port of the edge API.")
    client_proxy_port: int = Field(
        default=3002,
        ge=1,
        le=65535,
        description="TCP port for traffic to sandboxes, TLS and cleartext alike; with `SANDBANK_DOMAIN` that domain's port if not given.",
    )
    domain: str | None = Field(
        default=None,
        description="`NAME` or `NAME:PORT` (else 443) of `https://api.NAME` and `https://<port>-<sandboxID>.NAME`, and the `domain` that "
        f"clients are told; else `{LOCAL_NAME}` with the port for traffic to sandboxes.",
    )
    certificate: Path | None = Field(
        default=None, description="PEM file with a certificate for `api.NAME` and `*.NAME` and its chain; without it a local CA issues one."
    )
    certificate_key: Path | None = Field(default=None, description="PEM file with the certificate's key, unencrypted.")
    orchestrator_proxy_port: int = Field(default=5007, ge=1, le=65535, description="TCP port of the sandbox proxy.")
    orchestrator_port: int = Field(default=5008, ge=1, le=65535, description="TCP port of the orchestrator's gRPC.")
    docker_reverse_proxy_port: int = Field(
        default=5000, ge=1, le=65535, description="TCP port that Docker pushes images of templates to, TLS and cleartext alike."
    )
    docker_registry_url: str | None = Field(
        default=None,
        description="Registry that keeps those images, `http(s)://host[:port][/prefix]`; without it they are kept in the data directory.",
    )
    docker_store_port: int = Field(
        default=5001, ge=1, le=65535, description="TCP port on loopback of the images that are kept here: builders pull from it."
    )
    template_manager_port: int = Field(default=5009, ge=1, le=65535, description="TCP port of the build service's gRPC.")
    log_level: str = Field(default="info", description="debug, info, warning or error.")
    log_json: bool = Field(default=False, description="One JSON object per log line, for machines, instead of lines for people.")
    base_vcpu: int = Field(default=2, ge=1, description="CPUs of a sandbox of the `base` template.")
    base_memory_mib: int = Field(default=1024, ge=128, description="MiB of memory of a sandbox of the `base` template.")
    code_interpreter: Literal["minimal", "full", "off"] = Field(
        default="minimal",
        description="`code-interpreter-v1`, built in the background at the first start: `minimal` with Python, JavaScript, TypeScript and"
        " bash, `full` with R, Java and many more packages, or `off`.",
    )
    base_disk_mib: int = Field(default=10_240, ge=512, description="MiB that a sandbox of the `base` template may write.")

    @field_validator("domain", "certificate", "certificate_key", "docker_registry_url", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if (self.certificate is None) != (self.certificate_key is None):
            raise InvalidError("a certificate needs its key and a key its certificate: give both or none")
        if self.domain is not None:
            domain = PublicDomain.parse(self.domain)
            if "client_proxy_port" not in self.model_fields_set:
                self.client_proxy_port = domain.port
        elif self.certificate is not None:
            raise InvalidError("a certificate is for a domain: say which one with --domain or SANDBANK_DOMAIN")
        return self

    @property
    def public_domain(self) -> PublicDomain:
        """Where clients find API and sandboxes by name."""
        return PublicDomain.parse(self.domain) if self.domain is not None else PublicDomain(LOCAL_NAME, self.client_proxy_port)

    @property
    def local_ca_dir(self) -> Path:
        """The files of the local CA for this domain."""
        return self.data_dir / "tls" / self.public_domain.name

    @property
    def is_exposed(self) -> bool:
        """Whether any service listens beyond loopback, where well-known credentials would be an open door."""
        return not (is_loopback(self.bind) and is_loopback(self.orchestrator_bind))

    @property
    def ports(self) -> dict[str, tuple[str, int]]:
        """Address and port of every listener, by what listens there."""
        store = {} if self.docker_registry_url is not None else {"the image store": ("127.0.0.1", self.docker_store_port)}
        return {
            "the API": (self.bind, self.api_port),
            "the edge API": (self.bind, self.edge_port),
            "the client proxy": (self.bind, self.client_proxy_port),
            "the sandbox proxy": (self.orchestrator_bind, self.orchestrator_proxy_port),
            "the orchestrator": (self.orchestrator_bind, self.orchestrator_port),
            "the Docker reverse proxy": (self.bind, self.docker_reverse_proxy_port),
            **store,
            "the template manager": (self.orchestrator_bind, self.template_manager_port),
        }

    @property
    def api_url(self) -> str:
        """The REST API, as clients on this machine reach it; clients elsewhere put this machine's name in."""
        return f"http://{self._client_host()}:{self.api_port}"

    @property
    def sandbox_url(self) -> str:
        """Traffic to sandboxes, likewise."""
        return f"http://{self._client_host()}:{self.client_proxy_port}"

    @property
    def image_prefix(self) -> str:
        """What names of images for Docker begin with, likewise."""
        return f"{self._client_host()}:{self.docker_reverse_proxy_port}/e2b/custom-envs"

    @property
    def orchestrator_address(self) -> str:
        """The orchestrator's gRPC from within this machine."""
        return f"{_reachable(self.orchestrator_bind)}:{self.orchestrator_port}"

    @property
    def api_address(self) -> str:
        """The REST API from within this machine."""
        return f"{_reachable(self.bind)}:{self.api_port}"

    @property
    def internal_socket(self) -> Path:
        """Where the API answers this node."""
        return self.run_dir / "api.sock"

    @property
    def artifacts_dir(self) -> Path:
        """Templates and snapshots."""
        return self.data_dir / "artifacts"

    @property
    def log_file(self) -> Path:
        """Where a detached service writes."""
        return self.data_dir / "logs" / "sandbank.log"

    def _client_host(self) -> str:
        return "localhost" if self.bind == "127.0.0.1" else _reachable(self.bind)


def is_loopback(address: str) -> bool:
    """Whether only this machine can connect there. A name counts when all it resolves to does; one that does not resolve does not."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        pass
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(item).is_loopback for item in found)


def _reachable(bind: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104  # compared with, not bound to
    return f"[{host}]" if ":" in host else host
