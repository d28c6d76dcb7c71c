"""What is kept of a sandbox that was paused, and the start that brings it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbank.api.core.egress import EgressWish, parse_egress
from sandbank.api.core.start import SandboxStart
from sandbank.api.core.team import Team
from sandbank.api.core.template import Template
from sandbank.domain.credentials import SandboxTokens
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.volume import VolumeMount


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The newest save of a sandbox. `sandbox` is the run that it ended: its node has the files, its end is when it was saved.

    Until `is_ready` nobody knows whether the node has all of it.
    """

    sandbox: Sandbox
    env_id: str
    build_id: str
    is_ready: bool
    kernel_version: str = ""
    firecracker_version: str = ""

    def template(self) -> Template:
        """The save as something to start from; the ID is that of the template that the sandbox was made of."""
        sandbox = self.sandbox
        return Template(
            template_id=sandbox.template_id,
            build_id=self.build_id,
            alias=sandbox.alias,
            vcpu=sandbox.vcpu,
            ram_mb=sandbox.ram_mb,
            disk_mb=sandbox.disk_mb,
            envd_version=sandbox.envd_version,
            kernel_version=self.kernel_version,
            firecracker_version=self.firecracker_version,
        )

    def start(
        self,
        team: Team,
        tokens: SandboxTokens,
        mounts: tuple[VolumeMount, ...],
        timeout_seconds: int,
        auto_pause: bool | None = None,
        *,
        node_id: str | None = None,
    ) -> SandboxStart:
        """Everything as it was (REST contract §8.7), but for the timeout and, where it is given, `auto_pause`. `node_id`: only there."""
        sandbox = self.sandbox
        network = sandbox.network or {}
        return SandboxStart(
            sandbox_id=sandbox.sandbox_id,
            team_id=sandbox.team_id,
            template=self.template(),
            timeout_seconds=timeout_seconds,
            max_length_hours=team.max_length_hours,
            metadata=sandbox.metadata,
            env_vars={},  # they are in the processes that come back
            envd_access_token=tokens.envd(sandbox.sandbox_id) if sandbox.envd_access_token is not None else None,
            traffic_access_token=tokens.traffic(sandbox.sandbox_id) if sandbox.traffic_access_token is not None else None,
            mask_request_host=network.get("maskRequestHost"),
            allow_internet_access=sandbox.allow_internet_access,
            network=sandbox.network,
            https_ports=tuple(sorted(set(network.get("httpsPorts") or ()))),
            egress=_egress(sandbox, network),
            volume_mounts=mounts,
            iam_tokens=sandbox.iam_tokens,
            node_id=node_id,
            origin_node_id=sandbox.node_id,
            auto_pause=sandbox.auto_pause if auto_pause is None else auto_pause,
            auto_pause_memory=sandbox.auto_pause_memory,
            auto_resume=sandbox.auto_resume,
            created_timeout_seconds=sandbox.requested_timeout_seconds,
            snapshot_env_id=self.env_id,
        )


def _egress(sandbox: Sandbox, network: Mapping[str, Any]) -> EgressWish:
    sent = dict(network)
    if proxy := dict(sent.get("egressProxy") or {}):
        if sandbox.egress_proxy_password is not None:
            proxy["password"] = sandbox.egress_proxy_password
        if sandbox.egress_proxy_ca_cert is not None:
            proxy["tls"] = {**(proxy.get("tls") or {}), "caCert": sandbox.egress_proxy_ca_cert}
        sent["egressProxy"] = proxy
    # It was allowed when it was asked for; what an installation stopped offering since does not keep a sandbox from coming back.
    return parse_egress(sent, sandbox.allow_internet_access, envd_version=sandbox.envd_version, rules_enabled=True)
