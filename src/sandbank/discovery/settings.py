"""How nodes are found: environment variables, among them those that E2B's services read (templates contract §7)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sandbank.discovery.dns import DnsNodes
from sandbank.discovery.engines import KubernetesNodes, NomadNodes
from sandbank.discovery.sources import MergedSources, Source, StaticNodes
from sandbank.domain.errors import InvalidError

_SAME = {"local": "static", "k8s-pods": "kubernetes", "k8s": "kubernetes"}
_KNOWN = ("static", "dns", "kubernetes", "nomad")


class DiscoverySettings(BaseSettings):
    """Every field: its unit, and why one would change it."""

    model_config = SettingsConfigDict(env_prefix="SANDBANK_", extra="ignore", populate_by_name=True)

    discovery: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("static",),
        validation_alias=AliasChoices("SANDBANK_DISCOVERY", "SERVICE_DISCOVERY_PROVIDER", "SD_ORCHESTRATOR_PROVIDER", "discovery"),
        description="How nodes are found, some of these by a comma: `static` (SANDBANK_NODES), `dns`, `kubernetes`, `nomad`.",
    )
    discovery_port: int = Field(
        default=5008, ge=1, le=65535, description="TCP port of nodes' gRPC, for ways of finding them that tell only hosts."
    )
    discovery_dns_name: str = Field(
        default="",
        validation_alias=AliasChoices("SANDBANK_DISCOVERY_DNS_NAME", "SD_ORCHESTRATOR_DNS_QUERY", "discovery_dns_name"),
        description="Name of which every address is a node's, for `dns`.",
    )
    discovery_kubernetes_url: str = Field(
        default="", description="API server of Kubernetes, for `kubernetes`; by default the one of the cluster that this runs in."
    )
    discovery_kubernetes_namespace: str = Field(
        default="",
        validation_alias=AliasChoices("SANDBANK_DISCOVERY_KUBERNETES_NAMESPACE", "K8S_NAMESPACE", "discovery_kubernetes_namespace"),
        description="Namespace of the nodes' pods; by default this pod's own.",
    )
    discovery_kubernetes_selector: str = Field(default="app.kubernetes.io/component=node", description="Label selector of the nodes' pods.")
    discovery_nomad_url: str = Field(
        default="http://localhost:4646",
        validation_alias=AliasChoices("SANDBANK_DISCOVERY_NOMAD_URL", "NOMAD_ADDRESS", "discovery_nomad_url"),
        description="Nomad's HTTP API, for `nomad`.",
    )
    discovery_nomad_token: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("SANDBANK_DISCOVERY_NOMAD_TOKEN", "NOMAD_TOKEN", "discovery_nomad_token"),
        description="Token for it, if it wants one: reading services is enough.",
    )
    discovery_nomad_namespace: str = Field(default="", description="Namespace of the services; Nomad's `default` without it.")
    discovery_nomad_services: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("orchestrator",),
        validation_alias=AliasChoices("SANDBANK_DISCOVERY_NOMAD_SERVICES", "NOMAD_ORCHESTRATOR_SERVICE_NAMES", "discovery_nomad_services"),
        description="Services whose instances are nodes' gRPC, by a comma.",
    )

    @field_validator("discovery", "discovery_nomad_services", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("discovery")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(_SAME.get(part.lower(), part.lower()) for part in value))
        if unknown := [name for name in names if name not in _KNOWN]:
            raise ValueError(f"{unknown[0]!r} is no way to find nodes; known: {', '.join(_KNOWN)}")
        return names or ("static",)

    def sources(self, static: Sequence[str], on_error: Callable[[str, BaseException], None]) -> MergedSources:
        """What these settings mean, `static` being the listed addresses. `InvalidError` for what cannot work."""
        made = {"static": lambda: StaticNodes(static), "dns": self._dns, "kubernetes": self._kubernetes, "nomad": self._nomad}
        return MergedSources([made[name]() for name in self.discovery], on_error)

    def _dns(self) -> Source:
        if not self.discovery_dns_name:
            raise InvalidError("SANDBANK_DISCOVERY_DNS_NAME is missing: nodes are to be found by DNS")
        return DnsNodes(self.discovery_dns_name, self.discovery_port)

    def _kubernetes(self) -> Source:
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        url = self.discovery_kubernetes_url or (f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}" if host else "")
        if not url:
            raise InvalidError("SANDBANK_DISCOVERY_KUBERNETES_URL is missing, and this is no pod: nodes are to be found by Kubernetes")
        return KubernetesNodes(url, self.discovery_kubernetes_namespace, self.discovery_kubernetes_selector, self.discovery_port)

    def _nomad(self) -> Source:
        return NomadNodes(
            self.discovery_nomad_url,
            self.discovery_nomad_services,
            self.discovery_nomad_token.get_secret_value(),
            self.discovery_nomad_namespace,
        )
