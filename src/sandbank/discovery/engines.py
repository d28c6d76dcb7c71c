"""Nodes that an engine runs: pods of Kubernetes, services of Nomad, by their documented HTTP APIs."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from sandbank.domain.errors import UnavailableError

_SECONDS = 5.0
_PODS_AT_ONCE = 500

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a pod's own credentials."""


class KubernetesNodes:
    """Pods of one namespace that a label selector finds (core/v1 `GET /api/v1/namespaces/{namespace}/pods`), by their own addresses.

    `url` is the API server's. The token is read anew each time: Kubernetes replaces it.
    """

    name = "kubernetes"

    def __init__(self, url: str, namespace: str, selector: str, port: int, account: Path = SERVICE_ACCOUNT) -> None:
        self._namespace = namespace or _text(account / "namespace")
        self._path = f"/api/v1/namespaces/{self._namespace}/pods"
        self._selector = selector
        self._port = port
        self._account = account
        authority = account / "ca.crt"
        verify = ssl.create_default_context(cafile=str(authority)) if authority.is_file() else ssl.create_default_context()
        self._client = httpx.AsyncClient(base_url=url, verify=verify, timeout=_SECONDS, trust_env=False)

    async def list(self) -> Sequence[str]:
        """Those that have an address and are not over. One that is being deleted counts as long as it runs."""
        addresses: list[str] = []
        query = {"labelSelector": self._selector, "limit": str(_PODS_AT_ONCE)}
        token = _text(self._account / "token")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        while True:
            answer = await _get(self._client, self._path, query, headers, "Kubernetes")
            for pod in answer.get("items") or ():
                status = pod.get("status") or {}
                if status.get("podIP") and status.get("phase") not in {"Succeeded", "Failed"}:
                    addresses.append(_address(status["podIP"], self._port))
            following = (answer.get("metadata") or {}).get("continue")
            if not following:
                return sorted(addresses)
            query["continue"] = following

    async def close(self) -> None:
        """Its connections."""
        await self._client.aclose()


class NomadNodes:
    """Instances of services that Nomad has registered (`GET /v1/service/{name}`), by the addresses that it says."""

    name = "nomad"

    def __init__(self, url: str, services: Sequence[str], token: str = "", namespace: str = "") -> None:
        self._services = tuple(services)
        self._query = {"namespace": namespace} if namespace else {}
        headers = {"X-Nomad-Token": token} if token else {}
        self._client = httpx.AsyncClient(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False)

    async def list(self) -> Sequence[str]:
        """Of all services, sorted."""
        found: set[str] = set()
        for service in self._services:
            for one in await _get(self._client, f"/v1/service/{service}", self._query, {}, "Nomad"):
                found.add(_address(str(one["Address"]), int(one["Port"])))
        return sorted(found)

    async def close(self) -> None:
        """Its connections."""
        await self._client.aclose()


async def _get(client: httpx.AsyncClient, path: str, query: Mapping[str, str], headers: Mapping[str, str], peer: str) -> Any:
    try:
        answer = await client.get(path, params=dict(query), headers=dict(headers))
        answer.raise_for_status()
        return answer.json()
    except httpx.HTTPStatusError as error:
        raise UnavailableError(f"{peer} answers {error.response.status_code} to {path}") from error
    except (httpx.HTTPError, ValueError) as error:
        raise UnavailableError(f"{peer} cannot be asked: {error or type(error).__name__}") from error


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
