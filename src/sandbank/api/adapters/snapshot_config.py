"""What a save keeps of a sandbox beside columns: E2B's `config` JSON, version v1 (contract templates-and-data §2.4).

What E2B's has no place for is under `sandbank`.
"""

from __future__ import annotations

from typing import Any

from sandbank.domain.sandbox import Sandbox

_VERSION = "v1"


def encode(sandbox: Sandbox) -> dict[str, Any]:
    """All that makes the sandbox what it is and has no column. Tokens are not in it: they follow from the ID."""
    network = sandbox.network or {}
    proxy = network.get("egressProxy") or {}
    return {
        "version": _VERSION,
        "network": {
            "egress": {
                "allowedAddresses": network.get("allowOut") or [],
                "deniedAddresses": network.get("denyOut") or [],
                "rules": network.get("rules") or {},
                "egressProxyAddress": proxy.get("address") or "",
                "egressProxyUsername": proxy.get("username") or "",
                "egressProxyPassword": sandbox.egress_proxy_password or "",
            },
            "ingress": {
                "allowPublicAccess": sandbox.traffic_access_token is None,
                "maskRequestHost": network.get("maskRequestHost") or "",
            },
        },
        "autoResume": {"policy": "any" if sandbox.auto_resume else "off", "timeout": sandbox.requested_timeout_seconds},
        "volumeMounts": [{"name": name, "path": path} for name, path in sandbox.volume_mounts],
        "filesystemOnly": not sandbox.has_memory,
        "autoPauseFilesystemOnly": not sandbox.auto_pause_memory,
        "iam": {"tokens": {name: {"audience": audience, "tokenType": "JWT-SVID"} for name, audience in sandbox.iam_tokens.items()}},
        "sandbank": {
            "executionID": sandbox.execution_id,
            "buildID": sandbox.build_id,
            "alias": sandbox.alias,
            "maxLengthHours": sandbox.max_length_hours,
            "network": sandbox.network,
            "egressProxyCaCert": sandbox.egress_proxy_ca_cert,
        },
    }


def decode(config: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `Sandbox` that `encode` has put there; those that somebody else left out are empty."""
    ours = config.get("sandbank") or {}
    egress = (config.get("network") or {}).get("egress") or {}
    resume = config.get("autoResume") or {}
    tokens = (config.get("iam") or {}).get("tokens") or {}
    return {
        "execution_id": ours.get("executionID") or "",
        "build_id": ours.get("buildID") or "",
        "alias": ours.get("alias"),
        "max_length_hours": ours.get("maxLengthHours") or 0,
        "network": ours.get("network"),
        "egress_proxy_ca_cert": ours.get("egressProxyCaCert"),
        "egress_proxy_password": egress.get("egressProxyPassword") or None,
        "has_memory": not config.get("filesystemOnly"),
        "auto_pause_memory": not config.get("autoPauseFilesystemOnly"),
        "auto_resume": resume.get("policy") == "any",
        "requested_timeout_seconds": resume.get("timeout") or 0,
        "volume_mounts": tuple((mount["name"], mount["path"]) for mount in config.get("volumeMounts") or ()),
        "iam_tokens": {name: token["audience"] for name, token in tokens.items()},
    }


def is_private(config: dict[str, Any]) -> bool:
    """Whether traffic needs a token."""
    return ((config.get("network") or {}).get("ingress") or {}).get("allowPublicAccess") is False
