"""What an operator can say to a client proxy: environment variables, or fields in code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class ClientProxySettings(BaseSettings):
    """One client proxy. Every default suits a machine of its own."""

    model_config = SettingsConfigDict(env_prefix="SANDBANK_", extra="ignore", populate_by_name=True)

    bind: str = Field(default="127.0.0.1", description="Address of all ports of this service.")
    client_proxy_port: int = Field(
        default=3002,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("SANDBANK_CLIENT_PROXY_PORT", "PROXY_PORT"),
        description="TCP port of sandbox traffic; 0 lets the kernel choose.",
    )
    health_port: int | None = Field(
        default=3003,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("SANDBANK_CLIENT_PROXY_HEALTH_PORT", "HEALTH_PORT"),
        description="TCP port where every path answers for this proxy's health, for load balancers; none without it.",
    )
    edge_port: int | None = Field(
        default=3001,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("SANDBANK_EDGE_PORT", "EDGE_PORT"),
        description="TCP port of the edge API; none without it.",
    )
    edge_secret: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("EDGE_SECRET"),
        description="Key of the edge API; without it all but the open part is refused.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        description="Redis that all API processes and client proxies share, `redis://[user:password@]host:port/database` or `host:port`;"
        " a client proxy of its own finds sandboxes by it.",
    )
    loki_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("LOKI_URL", "loki_url"),
        description="Loki that the edge API reads sandboxes' logs from, `http(s)://…`; without it ClickHouse, if there is one.",
    )
    loki_user: str | None = Field(
        default=None, validation_alias=AliasChoices("LOKI_USER", "loki_user"), description="User for Loki's basic authentication."
    )
    loki_password: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("LOKI_PASSWORD", "loki_password"), description="Password of that user."
    )
    node_id: str = Field(default="client-proxy", min_length=1, description="What the edge API calls this machine.")
    nodes: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        validation_alias=AliasChoices("SANDBANK_NODES", "SD_ORCHESTRATOR_STATIC"),
        description="Nodes whose status the edge API shows and changes: gRPC addresses, `host` or `host:port`, separated by commas.",
    )
    orchestrator_port: int = Field(
        default=5008,
        ge=1,
        le=65535,
        validation_alias=AliasChoices("SANDBANK_ORCHESTRATOR_PORT", "ORCHESTRATOR_PORT"),
        description="TCP port of gRPC on those nodes that are listed without one.",
    )
    skip_initial_orchestrator_readiness_check: bool = Field(
        default=False,
        validation_alias=AliasChoices("SKIP_INITIAL_ORCHESTRATOR_READINESS_CHECK"),
        description="Whether the edge API calls this proxy healthy before it has seen any of those nodes.",
    )
    orchestrator_proxy_port: int = Field(
        default=5007, ge=1, le=65535, description="TCP port of the sandbox proxies on the nodes; the same on each."
    )
    catalog_timeout_seconds: float = Field(
        default=1.0, gt=0, description="Seconds that a catalog look-up may take; what takes longer is answered as not found."
    )
    api_grpc_address: str | None = Field(
        default=None,
        validation_alias=AliasChoices("SANDBANK_API_GRPC_ADDRESS", "API_INTERNAL_GRPC_ADDRESS"),
        description="`host:port` of the API's internal gRPC, asked about sandboxes that the catalog does not know; without it nobody is.",
    )
    resume_timeout_seconds: float = Field(
        default=90.0,
        gt=0,
        description="Seconds that a request waits for that answer: the API itself waits 60 for a sandbox to change state.",
    )
    drain_seconds: float = Field(
        default=5.0,
        ge=0,
        description="Seconds that requests under way get to finish at a stop; a cluster's balancer wants minutes, a terminal does not.",
    )
    domain: str | None = Field(
        default=None,
        description="Domain, with port if need be, of `api.<domain>` and `<port>-<sandboxID>.<domain>`.",
    )
    api_address: str | None = Field(
        default=None, description="`host:port` of the REST API, looked up at the start: requests for `api.<domain>` go there."
    )
    certificate: Path | None = Field(
        default=None, description="PEM file with the certificate for `api.<domain>` and `*.<domain>` and its chain; a renewed one is taken."
    )
    certificate_key: Path | None = Field(default=None, description="PEM file with the certificate's key, unencrypted.")
    local_ca_dir: Path | None = Field(
        default=None, description="Directory of a CA made here for the domain, used where no certificate is given; with neither, no TLS."
    )

    @field_validator("redis_url", "loki_url", "domain", "api_address", "certificate", "certificate_key", "local_ca_dir", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("nodes", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def orchestrator_addresses(self) -> tuple[str, ...]:
        """`nodes`, each with a port."""
        return tuple(self._with_port(node) for node in self.nodes)

    def _with_port(self, node: str) -> str:
        if node.rpartition(":")[2].isdecimal() and (node.count(":") == 1 or node.startswith("[")):
            return node
        return (
            f"[{node}]:{self.orchestrator_port}" if node.count(":") > 1 and not node.startswith("[") else f"{node}:{self.orchestrator_port}"
        )
