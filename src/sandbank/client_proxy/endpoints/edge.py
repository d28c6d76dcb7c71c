"""The edge API's open part (contract data-plane §8.3): health and what this node is. Everything else wants the key."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from sandbank.client_proxy.endpoints.health import AnswersItself
from sandbank.proxy.control_routes import clean_path
from sandbank.proxy.head import RequestHead
from sandbank.proxy.page import Page
from sandbank.version import VERSION


def _json(status: int, content: dict[str, str | int]) -> Page:
    return Page(status, b"application/json; charset=utf-8", json.dumps(content, separators=(",", ":")).encode())


class EdgePages(AnswersItself):
    """`/health`, `/health/traffic`, `/health/machine` and `/v1/info`."""

    def __init__(self, is_healthy: Callable[[], bool], *, node_id: str, secret: str) -> None:
        self._is_healthy = is_healthy
        self._node_id = node_id
        self._secret = secret.encode()
        self._instance_id = str(uuid4())
        self._started_at = datetime.now(UTC)

    def resolve(self, head: RequestHead) -> Page:
        """See `Resolver`."""
        path = clean_path(head.target)
        healthy = self._is_healthy()
        if path in ("/health", "/health/traffic", "/health/machine"):
            # A draining node is still healthy, it only takes no new traffic.
            ok = healthy or path != "/health/traffic"
            return _json(200, {"status": "ok"}) if ok else _json(503, {"code": 503, "message": "Service is draining"})
        if path == "/v1/info":
            return _json(
                200,
                {
                    "nodeID": self._node_id,
                    "serviceInstanceID": self._instance_id,
                    "serviceVersion": VERSION,
                    "serviceVersionCommit": "",
                    "serviceStartup": self._started_at.isoformat().replace("+00:00", "Z"),
                    "serviceStatus": "healthy" if healthy else "draining",
                },
            )
        if not self._secret or not hmac.compare_digest(head.fields.get(b"x-api-key", b""), self._secret):
            return _json(401, {"code": 401, "message": "Invalid API key"})
        return _json(404, {"code": 404, "message": "no matching operation was found"})
