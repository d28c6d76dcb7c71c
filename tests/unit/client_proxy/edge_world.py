"""The edge API without sockets: a cluster whose nodes do as they are told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sandbank.analytics.metrics import MetricStore
from sandbank.client_proxy.core.cluster import Cluster, ClusterNode, NodeStatus
from sandbank.client_proxy.core.readiness import ProxyStatus
from sandbank.client_proxy.endpoints.edge import EdgeApi
from sandbank.client_proxy.endpoints.edge_analytics import EdgeAnalytics
from sandbank.client_proxy.endpoints.edge_message import Answer, Request
from sandbank.domain.errors import SandbankError
from sandbank.domain.log_query import LogStore
from sandbank.state.catalog import MemoryCatalog

SECRET = "--edge-secret--"
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)


def node(number: int = 1, **changes: Any) -> ClusterNode:
    """Node `number`; a higher one was started later."""
    made = ClusterNode(
        address=f"10.0.0.{number}:5008",
        node_id=f"node-{number}",
        instance_id=f"instance-{number}",
        version="1.2.3",
        commit="abc",
        started_at=datetime(2026, 1, number, tzinfo=UTC),
        status=NodeStatus.HEALTHY,
        roles=("orchestrator",),
    )
    return replace(made, **changes)


@dataclass
class World:
    """An `EdgeApi` and all that it sees."""

    secret: str = SECRET
    status: ProxyStatus = ProxyStatus.HEALTHY
    terminating: bool = False
    now: float = 0.0
    failure: SandbankError | None = None
    told: list[tuple[str, NodeStatus]] = field(default_factory=list)
    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)
    logs: LogStore | None = None
    metrics: MetricStore | None = None

    def __post_init__(self) -> None:
        self.cluster = Cluster(lambda: self.now)
        self.api = EdgeApi(
            lambda: self.status,
            lambda: self.terminating,
            self.cluster,
            self._change,
            self.catalog,
            EdgeAnalytics(self.logs, self.metrics, lambda: NOON),
            node_id="proxy-1",
            secret=self.secret,
        )

    async def _change(self, target: ClusterNode, status: NodeStatus) -> ClusterNode:
        if self.failure is not None:
            raise self.failure
        self.told.append((target.instance_id, status))
        return replace(target, status=status)

    async def ask(self, method: str, path: str, *, key: str | None = SECRET, body: Any = None, **headers: str) -> Answer:
        """One request; a `body` that is no `bytes` goes as JSON."""
        fields = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        if key is not None:
            fields[b"x-api-key"] = key.encode()
        if body is not None:
            fields.setdefault(b"content-type", b"application/json")
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        return await self.api.respond(Request(method, path, fields, raw, query))


def error(answer: Answer) -> tuple[int, str]:
    """Status and message of an error, whose `code` is its status."""
    body = json.loads(answer.body)
    assert set(body) == {"code", "message"}
    assert body["code"] == answer.status
    return answer.status, body["message"]
