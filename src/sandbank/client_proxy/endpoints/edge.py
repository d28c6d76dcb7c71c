"""The edge API's operations (contract data-plane §8.2 to §8.4): health for everybody, the cluster for those who have the key."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from sandbank.client_proxy.core.cluster import Cluster, ClusterNode, NodeStatus
from sandbank.client_proxy.core.readiness import ProxyStatus
from sandbank.client_proxy.endpoints.edge_analytics import EdgeAnalytics
from sandbank.client_proxy.endpoints.edge_message import Answer, Request, json_answer, problem, problem_of
from sandbank.client_proxy.endpoints.edge_router import Route, find_route
from sandbank.client_proxy.endpoints.edge_shapes import node_shape, orchestrator_shape, read_reference, route_shape, time_shape
from sandbank.domain.errors import InvalidError, NotFoundError, SandbankError
from sandbank.domain.identifiers import parse_sandbox_id
from sandbank.state.catalog import Catalog
from sandbank.version import VERSION

_ANSWER_SECONDS = 30.0
_NODES = "/v1/service-discovery/nodes"

ChangeStatus = Callable[[ClusterNode, NodeStatus], Awaitable[ClusterNode]]
Parameters = Mapping[str, str]

logger = structlog.get_logger(__name__)


class EdgeApi:
    """Answers requests; never raises. `change_status` tells a node how to be and raises domain errors."""

    def __init__(
        self,
        status: Callable[[], ProxyStatus],
        is_terminating: Callable[[], bool],
        cluster: Cluster,
        change_status: ChangeStatus,
        catalog: Catalog,
        analytics: EdgeAnalytics,
        *,
        node_id: str,
        secret: str,
    ) -> None:
        self._status = status
        self._is_terminating = is_terminating
        self._cluster = cluster
        self._change_status = change_status
        self._catalog = catalog
        self._analytics = analytics
        self._node_id = node_id
        self._secret = secret.encode()
        self._instance_id = str(uuid4())
        self._started_at = datetime.now(UTC)
        self._routes = self._make_routes()

    async def respond(self, request: Request) -> Answer:
        """The answer, whatever happens."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._respond(request)
        except SandbankError as error:
            return problem_of(error)
        except TimeoutError:
            return problem(504, "the request took too long")
        except Exception:  # request boundary
            logger.exception("request failed", method=request.method, path=request.path)
            return problem(500, "internal error")

    async def _respond(self, request: Request) -> Answer:
        found = find_route(self._routes, request.path)
        # Who has no key does not learn which paths there are.
        if (found is None or not found[0].open) and (refusal := self._refusal(request)) is not None:
            return refusal
        if found is None:
            return problem(404, "no matching operation was found")
        route, parameters = found
        operation = route.operation(request.method)
        if operation is None:
            return problem(405, "method not allowed", route.allow)
        return await operation(request, parameters)

    def _refusal(self, request: Request) -> Answer | None:
        given = request.fields.get(b"x-api-key")
        if given is None:
            return problem(401, "X-API-Key header is missing")
        if not self._secret or not hmac.compare_digest(given, self._secret):
            return problem(401, "Invalid API key")
        return None

    def _make_routes(self) -> tuple[Route, ...]:
        changes = {"drain": NodeStatus.DRAINING, "kill": NodeStatus.UNHEALTHY, "undrain": NodeStatus.HEALTHY}
        return (
            Route("/health", {"GET": self._health}, open=True),
            Route("/health/traffic", {"GET": self._traffic}, open=True),
            Route("/health/machine", {"GET": self._machine}, open=True),
            Route("/v1/info", {"GET": self._info}, open=True),
            Route("/v1/service-discovery", {"GET": self._discover}),
            Route(_NODES, {"GET": self._list_nodes}),
            Route(f"{_NODES}/orchestrators", {"GET": self._list_orchestrators}),
            *(Route(f"{_NODES}/{name}", {"POST": self._changer(status)}) for name, status in changes.items()),
            *(Route(f"{_NODES}/{{key}}/{name}", {"POST": self._changer(status)}) for name, status in changes.items()),
            Route("/v1/catalog/{sandbox_id}", {"GET": self._show_route}),
            *self._analytics.routes(),
        )

    async def _health(self, request: Request, parameters: Parameters) -> Answer:
        return _healthy_if(self._status() is not ProxyStatus.UNHEALTHY, "Service is unhealthy")

    async def _traffic(self, request: Request, parameters: Parameters) -> Answer:
        status = self._status()
        return _healthy_if(status is ProxyStatus.HEALTHY, f"Service is {status.value}")

    async def _machine(self, request: Request, parameters: Parameters) -> Answer:
        return _healthy_if(not self._is_terminating(), "Service is terminating")

    async def _info(self, request: Request, parameters: Parameters) -> Answer:
        return json_answer(
            {
                "nodeID": self._node_id,
                "serviceInstanceID": self._instance_id,
                "serviceVersion": VERSION,
                "serviceVersionCommit": VERSION,
                "serviceStartup": time_shape(self._started_at),
                "serviceStatus": self._status().value,
            }
        )

    async def _discover(self, request: Request, parameters: Parameters) -> Answer:
        return json_answer({"orchestrators": [orchestrator_shape(node) for node in self._cluster.nodes()]})

    async def _list_nodes(self, request: Request, parameters: Parameters) -> Answer:
        return json_answer([node_shape(node) for node in self._cluster.nodes()])

    async def _list_orchestrators(self, request: Request, parameters: Parameters) -> Answer:
        return json_answer([orchestrator_shape(node) for node in self._cluster.nodes()])

    def _changer(self, status: NodeStatus) -> Callable[[Request, Parameters], Awaitable[Answer]]:
        async def change(request: Request, parameters: Parameters) -> Answer:
            node = self._cluster.get(parameters["key"] if "key" in parameters else read_reference(request).instance_id)
            try:
                self._cluster.saw(await self._change_status(node, status))
            except NotFoundError:
                raise
            except SandbankError as error:
                # Contract data-plane §8.3: whatever kept the node from changing.
                raise InvalidError(f"the status was not changed: {error.message}") from error
            logger.info("node status changed", node_id=node.node_id, instance_id=node.instance_id, status=status.value)
            return Answer(200)

        return change

    async def _show_route(self, request: Request, parameters: Parameters) -> Answer:
        sandbox_id = parse_sandbox_id(parameters["sandbox_id"])
        entry = await self._catalog.find(sandbox_id)
        if entry is None:
            raise NotFoundError(f"sandbox '{sandbox_id}' is not in the catalog")
        return json_answer(route_shape(entry))


def _healthy_if(healthy: bool, otherwise: str) -> Answer:
    return json_answer({"status": "ok"}) if healthy else problem(503, otherwise)
