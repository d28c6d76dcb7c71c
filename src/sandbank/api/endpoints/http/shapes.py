"""What clients get: the contract's objects. Where a client crashes on `null` the field is left out (sdk-latest contract §1.3)."""

from __future__ import annotations

from typing import Any

from sandbank.api.core.pagination import rfc3339
from sandbank.domain.identifiers import CLIENT_ID
from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState, public_state


def _common(sandbox: Sandbox) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "templateID": sandbox.template_id,
        "sandboxID": sandbox.sandbox_id,
        "clientID": CLIENT_ID,
        "envdVersion": sandbox.envd_version,
    }
    if sandbox.alias is not None:
        shape["alias"] = sandbox.alias
    return shape


def created(sandbox: Sandbox, domain: str | None) -> dict[str, Any]:
    """`Sandbox`: the answer to create and connect."""
    shape = _common(sandbox)
    if sandbox.envd_access_token is not None:
        shape["envdAccessToken"] = sandbox.envd_access_token
    shape["trafficAccessToken"] = sandbox.traffic_access_token
    shape["domain"] = domain
    return shape


def listed(sandbox: Sandbox) -> dict[str, Any]:
    """`ListedSandbox`: no tokens."""
    shape = _common(sandbox) | {
        "startedAt": rfc3339(sandbox.started_at),
        "endAt": rfc3339(sandbox.end_at),
        "cpuCount": sandbox.vcpu,
        "memoryMB": sandbox.ram_mb,
        "diskSizeMB": sandbox.disk_mb,
        "state": public_state(sandbox.state),
        "volumeMounts": [{"name": name, "path": path} for name, path in sandbox.volume_mounts],
    }
    if sandbox.metadata:
        shape["metadata"] = dict(sandbox.metadata)
    return shape


def detailed(sandbox: Sandbox, domain: str | None) -> dict[str, Any]:
    """`SandboxDetail`."""
    shape = listed(sandbox) | {
        "allowInternetAccess": sandbox.allow_internet_access,
        "domain": None if sandbox.state is SandboxState.PAUSED else domain,
        "lifecycle": {"autoResume": sandbox.auto_resume, "onTimeout": "pause" if sandbox.auto_pause else "kill"},
    }
    if sandbox.envd_access_token is not None:
        shape["envdAccessToken"] = sandbox.envd_access_token
    if sandbox.state is SandboxState.PAUSED:
        shape["pauseMode"] = "full" if sandbox.has_memory else "filesystem"
    if sandbox.network is not None:
        shape["network"] = dict(sandbox.network)
    return shape
