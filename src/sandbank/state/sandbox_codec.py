"""A record as the JSON that E2B's tools know (contract templates-and-data §7)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sandbank.domain.sandbox import Sandbox
from sandbank.domain.states import SandboxState

_CLIENT_ID = "6532622b"
_HOUR_NANOSECONDS = 3600 * 10**9

# Ours → theirs, where the value is the same in both.
_PLAIN = {
    "sandbox_id": "sandboxID",
    "execution_id": "executionID",
    "team_id": "teamID",
    "template_id": "templateID",
    "build_id": "buildID",
    "node_id": "nodeID",
    "requested_timeout_seconds": "requestedTimeoutSeconds",  # ours
    "vcpu": "vCpu",
    "ram_mb": "ramMB",
    "disk_mb": "totalDiskSizeMB",
    "envd_version": "envdVersion",
    "alias": "alias",
    "envd_access_token": "envdAccessToken",
    "traffic_access_token": "trafficAccessToken",
    "allow_internet_access": "allowInternetAccess",
    "network": "network",
}
# As the ones above, but absent from records of older releases.
_NEWER = {
    "auto_pause": "autoPause",
    "auto_pause_memory": "autoPauseMemory",
    "has_memory": "hasMemory",
    "egress_proxy_password": "egressProxyPassword",
    "egress_proxy_ca_cert": "egressProxyCaCert",
}
_TIMES = {"started_at": "startTime", "end_at": "endTime"}
FIELDS = frozenset((*_PLAIN, *_NEWER, *_TIMES, "max_length_hours", "metadata", "state", "volume_mounts", "iam_tokens", "auto_resume"))
"""What is kept of a record: all of it, or a restart would lose the rest."""


def encode(sandbox: Sandbox) -> str:
    """The whole record."""
    document: dict[str, Any] = {theirs: getattr(sandbox, ours) for ours, theirs in (_PLAIN | _NEWER).items()}
    for ours, theirs in _TIMES.items():
        document[theirs] = getattr(sandbox, ours).isoformat().replace("+00:00", "Z")
    document |= {
        "clientID": _CLIENT_ID,
        "baseTemplateID": sandbox.template_id,
        "maxInstanceLength": sandbox.max_length_hours * _HOUR_NANOSECONDS,
        "metadata": dict(sandbox.metadata),
        "state": sandbox.state.value,
        "autoResume": {"policy": "any" if sandbox.auto_resume else "off"},
        "iam": {"tokens": dict(sandbox.iam_tokens)},
        "volumeMounts": [{"name": name, "path": path} for name, path in sandbox.volume_mounts],
    }
    return json.dumps(document, separators=(",", ":"))


class UnreadableRecordError(ValueError):
    """The text is no record, or one of another release."""


def decode(text: str | bytes) -> Sandbox:
    """What `encode` wrote; `UnreadableRecordError` for what it did not."""
    try:
        return _of(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableRecordError(f"{type(error).__name__}: {error}") from error


def _of(document: dict[str, Any]) -> Sandbox:
    fields: dict[str, Any] = {ours: document[theirs] for ours, theirs in _PLAIN.items()}
    fields |= {ours: document[theirs] for ours, theirs in _NEWER.items() if theirs in document}
    for ours, theirs in _TIMES.items():
        fields[ours] = datetime.fromisoformat(document[theirs])
    fields["max_length_hours"] = document["maxInstanceLength"] // _HOUR_NANOSECONDS
    fields["metadata"] = document["metadata"]
    fields["volume_mounts"] = tuple((mount["name"], mount["path"]) for mount in document.get("volumeMounts") or ())
    fields["iam_tokens"] = (document.get("iam") or {}).get("tokens") or {}
    fields["auto_resume"] = (document.get("autoResume") or {}).get("policy") == "any"
    fields["state"] = SandboxState(document["state"])
    return Sandbox(**fields)
