"""What an operator can say to an orchestrator: environment variables that begin with `SANDBANK_`, or fields in code."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sandbank.runtime.driver import NodeLayout

# Kernel and user memory of an idle sandbox are 4 MiB (architecture §2); half of a node may be idle sandboxes.
_IDLE_SANDBOX_BYTES = 4 * 1024 * 1024


RUNS, BUILDS = "orchestrator", "template-manager"
ROLES = {RUNS, BUILDS}


class OrchestratorSettings(BaseSettings):
    """One node. Every default suits a machine of its own."""

    model_config = SettingsConfigDict(env_prefix="SANDBANK_", extra="ignore", populate_by_name=True)

    data_dir: Path = Field(default=Path("/var/lib/sandbank"), description="Artefacts, sandboxes' files and records. Outlives restarts.")
    run_dir: Path = Field(default=Path("/run/sandbank"), description="Sockets and what must not outlive a reboot.")
    instance: str = Field(
        default="sb", pattern=r"^[a-z0-9]{1,6}$", description="Prefix of interface, cgroup and firewall names; one per node of a kernel."
    )
    subnet: str = Field(default="10.211.0.0/16", description="IPv4 range that sandboxes' links take addresses from; private to this node.")
    uid_base: int = Field(default=100_000_000, ge=65_536, description="First host uid given to sandboxes; each slot takes 65,536.")
    max_slots: int = Field(default=8192, ge=1, description="Slots of this node, and with it uid ranges and link addresses.")

    orchestrator_bind: str = Field(
        default="127.0.0.1",
        description="Address of the gRPC and sandbox proxy ports. Neither asks who calls: only networks where every host is trusted.",
    )
    orchestrator_port: int = Field(default=5008, ge=0, le=65535, description="TCP port of gRPC.")
    orchestrator_proxy_port: int = Field(default=5007, ge=0, le=65535, description="TCP port of the sandbox proxy.")
    node_id: str = Field(
        default_factory=socket.gethostname, min_length=1, description="What the API calls this node; the host's name by default."
    )
    orchestrator_services: str = Field(
        default="orchestrator,template-manager",
        validation_alias=AliasChoices("SANDBANK_ORCHESTRATOR_SERVICES", "ORCHESTRATOR_SERVICES", "orchestrator_services"),
        description="What this node does: `orchestrator` runs sandboxes, `template-manager` builds templates; both, with a comma.",
    )
    node_labels: tuple[str, ...] = Field(default=(), description="Labels that placements may require.")

    sandbox_disk_mib: int | None = Field(
        default=None,
        ge=0,
        description="What all sandboxes together may write, in MiB, fixed at the first start; else 80 % of what is free. 0: none.",
    )
    artifacts_url: str | None = Field(
        default=None,
        description="Object storage that all nodes share, for builds and snapshots, so that what one has made others can go on from:"
        " `s3://bucket/prefix`, `gs://…`, `az://…` (credentials by each cloud's own variables) or `file:///directory`. Without it they"
        " stay on the node that made them.",
    )
    driver: str = Field(default="namespaces", description="What runs sandboxes.")
    criu: Path | None = Field(
        default=None,
        description="CRIU 4.2 or newer, which saves and brings back memory; by default the one in `/opt/sandbank`, else the system's.",
    )
    max_sandboxes: int | None = Field(
        default=None, ge=1, description="Running sandboxes on this node; by default what half of the memory holds when they are idle."
    )
    sandbox_max_connections: int = Field(
        default=12_288,
        ge=-1,
        description="Requests and streams that a sandbox may have in progress, -1 for any number. Three quarters of what a proxy takes"
        " from all clients together, so that traffic to one sandbox alone cannot fill it.",
    )
    start_concurrency: int | None = Field(
        default=None,
        ge=1,
        description="Sandboxes started at the same time, the others wait; by default 4 per CPU, since a start mostly waits.",
    )
    paused_memory_percent: float = Field(
        default=10.0,
        ge=0,
        le=100,
        description="Share of this machine's memory that paused sandboxes may stay in, frozen, when they are on disk already: going on from"
        " there takes milliseconds. They give way when less than a tenth of the memory is available; 0 keeps none.",
    )
    spare_sandboxes: str = Field(
        default="0",
        description="Sandboxes kept ready of each template with a start command that is in use here, frozen, so that a create takes"
        " milliseconds: `2`, or by template ID `aaaa=3`, or both by a comma. They share the memory of paused ones and give way like them.",
    )
    volumes_dir: Path | None = Field(
        default=None,
        description="Directory of volumes; by default beside the sandboxes' files, whose quotas then hold for them, too. On a file system"
        " that all nodes mount, say so to the API by SANDBANK_VOLUMES_SHARED.",
    )
    volume_mib: int = Field(
        default=10_240, ge=1, description="What one volume may hold, in MiB, where the file system below has quotas; fixed when it is made."
    )
    api_grpc_address: str | None = Field(
        default=None,
        validation_alias=AliasChoices("SANDBANK_API_GRPC_ADDRESS", "API_INTERNAL_GRPC_ADDRESS", "api_grpc_address"),
        description="`host:port`, or `unix:path`, of the API's internal gRPC, asked for secrets that sandboxes' network rules name; without"
        " it requests that need one are refused.",
    )
    egress_ca_bundle: Path | None = Field(
        default=None,
        description="PEM file with certificates to trust, besides what this machine trusts, where requests get headers on their way out"
        " (`network.rules`). A changed file counts at once.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        description="Redis that all API processes and client proxies share, `redis://[user:password@]host:port/database` or `host:port`;"
        " without it running sandboxes are remembered by one API process, which asks the nodes when it starts. A node adds the events of"
        " teams with webhooks to `sandbox.events.stream` there.",
    )
    loki_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("LOKI_URL", "loki_url"),
        description="Loki that keeps sandboxes' logs, `http(s)://…`; without it ClickHouse does, if there is one.",
    )
    loki_user: str | None = Field(
        default=None, validation_alias=AliasChoices("LOKI_USER", "loki_user"), description="User for Loki's basic authentication."
    )
    loki_password: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("LOKI_PASSWORD", "loki_password"), description="Password of that user."
    )
    stop_grace_seconds: float = Field(default=10.0, ge=0, description="Seconds that calls in flight get to finish at a stop.")
    removal_grace_seconds: float = Field(
        default=40.0, ge=0, description="Seconds that removals of ended sandboxes get at a stop; the next start removes what they leave."
    )

    @property
    def roles(self) -> frozenset[str]:
        """Of `ROLES`, those that this node has."""
        return frozenset(name for part in self.orchestrator_services.split(",") if (name := part.strip()))

    @field_validator("orchestrator_services")
    @classmethod
    def _known_services(cls, value: str) -> str:
        names = {part.strip() for part in value.split(",")} - {""}
        if not names or names - ROLES:
            raise ValueError(f"one or both of {', '.join(sorted(ROLES))}")
        return value

    @field_validator("criu", "api_grpc_address", "egress_ca_bundle", "redis_url", "loki_url", "volumes_dir", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def layout(self) -> NodeLayout:
        """Names, numbers and directories for the driver."""
        return NodeLayout(
            data_dir=self.data_dir,
            run_dir=self.run_dir,
            instance=self.instance,
            subnet=self.subnet,
            uid_base=self.uid_base,
            max_slots=self.max_slots,
            sandbox_disk_mib=self.sandbox_disk_mib,
        )

    @property
    def effective_start_concurrency(self) -> int:
        """`start_concurrency` or its default on this machine."""
        return self.start_concurrency or 4 * len(os.sched_getaffinity(0))

    def effective_max_sandboxes(self, memory_total_bytes: int) -> int:
        """`max_sandboxes` or its default for that much memory; never more than there are slots."""
        return min(self.max_sandboxes or max(memory_total_bytes // 2 // _IDLE_SANDBOX_BYTES, 16), self.max_slots)
