"""The whole node over gRPC on loopback, on a driver in memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sandbank.artifacts.builds import Build, BuildStore
from sandbank.contracts.info import ServiceInfoResponse, ServiceInfoRole, ServiceInfoStatus
from sandbank.contracts.orchestrator import SandboxConfig, SandboxCreateRequest, SandboxDeleteRequest, SandboxUpdateRequest
from sandbank.domain.errors import ConflictError, InvalidError, NotFoundError, SandbankError, UnavailableError
from sandbank.domain.identifiers import new_sandbox_id
from sandbank.orchestrator.core.egress_update import EgressUpdate
from sandbank.orchestrator.endpoints.order import parse_order
from sandbank.orchestrator.endpoints.sandbox_service import SandboxEndpoints
from sandbank.orchestrator.settings import OrchestratorSettings
from sandbank.orchestrator.wiring import OrchestratorService, build
from sandbank.rpc.orchestrator import OrchestratorClient
from sandbank.runtime.driver import CLOSED, OPEN, EgressPolicy, EgressProxy
from tests.unit.orchestrator.memory_driver import Kernel, MemoryDriver
from tests.unit.orchestrator.node import Node


def timestamp(moment: datetime) -> Timestamp:
    result = Timestamp()
    result.FromDatetime(moment)
    return result


def new_request(lifetime: timedelta = timedelta(minutes=5)) -> SandboxCreateRequest:
    now = datetime.now(UTC) - timedelta(hours=1)  # an API whose clock is off, or a request that waited: only the difference counts
    request = SandboxCreateRequest(start_time=timestamp(now), end_time=timestamp(now + lifetime))
    config = request.sandbox
    config.sandbox_id = new_sandbox_id()
    config.execution_id = "execution"
    config.team_id = "team"
    config.template_id = "base"
    config.build_id = "build"
    config.vcpu = 2
    config.ram_mb = 512
    config.total_disk_size_mb = 1024
    config.metadata["purpose"] = "test"
    return request


class World:
    """What outlives an orchestrator: its data directory and the kernel."""

    def __init__(self, directory: Path) -> None:
        self.kernel = Kernel()
        self.settings = OrchestratorSettings(
            data_dir=directory, run_dir=directory, orchestrator_port=0, orchestrator_proxy_port=0, node_id="node", driver="memory"
        )
        layer = directory / "artifacts" / "layers" / "layer"
        layer.mkdir(parents=True)
        BuildStore(directory / "artifacts").publish(Build(build_id="build", template_id="base", layers=(layer,)))

    def new_service(self) -> OrchestratorService:
        return build(self.settings, drivers={"memory": lambda _layout, _secrets: MemoryDriver(self.kernel)})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def service(world: World) -> AsyncIterator[OrchestratorService]:
    service = world.new_service()
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def client(service: OrchestratorService) -> AsyncIterator[OrchestratorClient]:
    client = OrchestratorClient(service.address)
    yield client
    await client.close()


async def test_lists_leave_out_the_variables(client: OrchestratorClient) -> None:
    """Of thousands of sandboxes they would be most of an answer whose size is limited."""
    request = new_request()
    request.sandbox.env_vars["A"] = "x" * 100_000
    request.sandbox.metadata["kept"] = "yes"
    await client.create(request)
    (listed,) = (await client.list()).sandboxes
    assert dict(listed.config.env_vars) == {}
    assert listed.config.metadata["kept"] == "yes"


async def test_a_sandbox_over_its_life(client: OrchestratorClient, service: OrchestratorService, world: World) -> None:
    request = new_request(timedelta(minutes=7))
    sandbox_id = request.sandbox.sandbox_id
    before = datetime.now(UTC)
    created = await client.create(request)
    assert created.client_id == "node"
    assert created.driver == service.driver_name == "memory"
    assert before <= created.started_at.ToDatetime(tzinfo=UTC) <= datetime.now(UTC)
    assert created.end_at.ToDatetime() - created.started_at.ToDatetime() == timedelta(minutes=7)

    (listed,) = (await client.list()).sandboxes
    assert listed.config == request.sandbox
    assert (listed.sandbox_id, listed.team_id, listed.execution_id, listed.vcpu, listed.ram_mb) == (sandbox_id, "team", "execution", 2, 512)
    assert listed.end_time == created.end_at

    later = timestamp(datetime.now(UTC) + timedelta(hours=1))
    await client.update(SandboxUpdateRequest(sandbox_id=sandbox_id, end_time=later))
    assert (await client.list()).sandboxes[0].end_time == later

    await client.delete(SandboxDeleteRequest(sandbox_id=sandbox_id, kill_reason="request"))
    assert not (await client.list()).sandboxes
    with pytest.raises(NotFoundError, match=f"^sandbox '{sandbox_id}' not found$"):
        await client.delete(SandboxDeleteRequest(sandbox_id=sandbox_id))
    with pytest.raises(NotFoundError, match=r"^sandbox not found$"):
        await client.update(SandboxUpdateRequest(sandbox_id=sandbox_id, end_time=later))
    await service.stop()
    assert not world.kernel.sandboxes
    assert not list((world.settings.data_dir / "records").iterdir())


async def test_routes_open_and_close_with_the_sandbox(client: OrchestratorClient, service: OrchestratorService) -> None:
    request = new_request()
    request.sandbox.network.ingress.traffic_access_token = "token"
    request.sandbox.network.ingress.mask_request_host = "localhost:${PORT}"
    await client.create(request)
    route = service.routes.find(request.sandbox.sandbox_id)
    assert route is not None
    assert (route.execution_id, route.traffic_token, route.mask_request_host) == ("execution", "token", "localhost:${PORT}")
    route.dial(49983).close()
    await client.delete(SandboxDeleteRequest(sandbox_id=request.sandbox.sandbox_id))
    assert service.routes.find(request.sandbox.sandbox_id) is None


async def test_the_agents_token_is_passed_on_or_absent(client: OrchestratorClient, world: World) -> None:
    open_request, secured = new_request(), new_request()
    secured.sandbox.envd_access_token = "secret"
    await client.create(open_request)
    await client.create(secured)
    assert world.kernel.sandboxes[open_request.sandbox.sandbox_id].init.access_token is None
    assert world.kernel.sandboxes[secured.sandbox.sandbox_id].init.access_token == "secret"


async def test_a_restart_adopts(world: World) -> None:
    first = world.new_service()
    await first.start()
    client = OrchestratorClient(first.address)
    kept, lost = new_request(), new_request()
    kept.sandbox.network.ingress.traffic_access_token = "token"
    await client.create(kept)
    await client.create(lost)
    before = await client.list()
    await client.close()
    await first.stop()
    assert len(world.kernel.sandboxes) == 2, "stopping the orchestrator ends no sandbox"

    world.kernel.sandboxes.pop(lost.sandbox.sandbox_id)
    world.kernel.leftovers.add("iunacknowledged")
    second = world.new_service()
    await second.start()
    client = OrchestratorClient(second.address)
    (listed,) = (await client.list()).sandboxes
    assert listed in before.sandboxes
    route = second.routes.find(kept.sandbox.sandbox_id)
    assert route is not None
    assert route.traffic_token == "token"
    await client.close()
    await second.stop()


async def test_a_burst_of_a_hundred(client: OrchestratorClient, service: OrchestratorService, world: World) -> None:
    requests = [new_request() for _ in range(100)]
    await asyncio.gather(*(client.create(request) for request in requests))
    assert {sandbox.sandbox_id for sandbox in (await client.list()).sandboxes} == {request.sandbox.sandbox_id for request in requests}
    await asyncio.gather(*(client.delete(SandboxDeleteRequest(sandbox_id=request.sandbox.sandbox_id)) for request in requests))
    await service.stop()
    assert not world.kernel.sandboxes


async def test_a_client_that_goes_away_leaves_nothing(world: World) -> None:
    service = world.new_service()
    await service.start()
    driver = service.driver
    assert isinstance(driver, MemoryDriver)
    driver.gate.clear()
    client = OrchestratorClient(service.address)
    creating = asyncio.create_task(client.create(new_request()))
    async with asyncio.timeout(10):
        while driver.creating == 0:
            await asyncio.sleep(0.001)
        creating.cancel()
        await asyncio.wait({creating})
        while driver.creating:
            await asyncio.sleep(0.001)
    assert not world.kernel.sandboxes
    assert not world.kernel.leftovers
    assert not (await client.list()).sandboxes
    await client.close()
    await service.stop()


async def test_what_the_node_does_not_offer_is_refused(client: OrchestratorClient) -> None:
    async def refused(request: SandboxCreateRequest) -> type[SandbankError]:
        with pytest.raises(SandbankError) as caught:
            await client.create(request)
        return type(caught.value)

    for change in ("sandbox_id", "template_missing", "vcpu", "times", "proxy", "network", "volumes", "snapshot"):
        request = new_request()
        expected: type[SandbankError] = InvalidError
        match change:
            case "sandbox_id":
                request.sandbox.sandbox_id = "../../etc"
            case "template_missing":
                request.sandbox.build_id = "gone"
                expected = ConflictError
            case "vcpu":
                request.sandbox.vcpu = 0
            case "times":
                request.ClearField("end_time")
            case "proxy":
                request.sandbox.network.egress.egress_proxy_address = "proxy"
            case "network":
                request.sandbox.network.egress.denied_cidrs.append("8.8.8.8/33")
            case "volumes":
                request.sandbox.volumeMounts.add(id="volume")
            case "snapshot":
                request.sandbox.snapshot = True
                expected = ConflictError
        assert await refused(request) is expected, change


async def test_denying_everything_is_offered(client: OrchestratorClient, world: World) -> None:
    by_flag, by_rule = new_request(), new_request()
    by_flag.sandbox.allow_internet_access = False
    by_rule.sandbox.network.egress.denied_cidrs.append("0.0.0.0/0")
    for request in (by_flag, by_rule):
        await client.create(request)
        assert world.kernel.sandboxes[request.sandbox.sandbox_id].egress == CLOSED


async def test_egress_rules_are_replaced_and_outlive_the_node(client: OrchestratorClient, world: World) -> None:
    request = new_request()
    egress = request.sandbox.network.egress
    egress.denied_cidrs.append("0.0.0.0/0")
    egress.allowed_cidrs.append("8.8.8.8/32")
    egress.allowed_domains.append("*.example.com")
    egress.egress_proxy_address, egress.egress_proxy_username, egress.egress_proxy_password = "198.51.100.7:1080", "me", "secret"
    egress.rules["api.example.com"].rules.add().transform.headers["X-Key"] = "value"
    sandbox_id = request.sandbox.sandbox_id
    await client.create(request)
    proxy = EgressProxy("198.51.100.7", 1080, "me", "secret")
    headers = {"api.example.com": {"X-Key": "value"}}
    policy = EgressPolicy(("8.8.8.8/32",), ("0.0.0.0/0",), ("*.example.com",), proxy, headers)
    assert world.kernel.sandboxes[sandbox_id].egress == policy
    (listed,) = (await client.list()).sandboxes
    assert not listed.config.network.HasField("egress"), "lists carry no credentials, and no rules that nobody asks for"

    update = SandboxUpdateRequest(sandbox_id=sandbox_id, requested_network_json='{"denyOut":["1.1.1.1"]}', allow_internet_access=True)
    update.egress.denied_cidrs.append("1.1.1.1/32")
    await client.update(update)
    assert world.kernel.sandboxes[sandbox_id].egress == EgressPolicy(denied_cidrs=("1.1.1.1/32",))
    (listed,) = (await client.list()).sandboxes
    assert (listed.config.requested_network_json, listed.config.allow_internet_access) == ('{"denyOut":["1.1.1.1"]}', True)

    cleared = SandboxUpdateRequest(sandbox_id=sandbox_id)
    cleared.egress.SetInParent()
    await client.update(cleared)
    assert world.kernel.sandboxes[sandbox_id].egress == OPEN
    with pytest.raises(NotFoundError):
        await client.update(SandboxUpdateRequest(sandbox_id=new_sandbox_id(), egress=cleared.egress))


async def test_new_rules_and_a_new_end_are_events() -> None:
    """Data-plane contract §9.2, §12.1: `network_egress` and `set_timeout` of an updated sandbox."""
    node = Node(MemoryDriver(Kernel()))
    await node.start()
    request = new_request()
    sandbox = await node.creation.create(parse_order(request))
    egress = EgressUpdate(node.driver, node.inventory, node.records)
    endpoints = SandboxEndpoints(
        "node", "memory", node.inventory, node.records, node.creation, node.removal, node.pausing, egress, node.events, node.clock
    )
    update = SandboxUpdateRequest(sandbox_id=sandbox.sandbox_id, end_time=timestamp(sandbox.end_at + timedelta(hours=1)))
    update.egress.denied_cidrs.append("1.1.1.1/32")
    await endpoints.update(update)
    _, rules, end = node.events.emitted
    assert (rules.egress_changed, rules.end_moved, end.egress_changed, end.end_moved) == (True, False, False, True)
    assert list(SandboxConfig.FromString(rules.sandbox.config).network.egress.denied_cidrs) == ["1.1.1.1/32"]
    await node.stop()


async def test_rules_that_cannot_be_recorded_are_taken_back(client: OrchestratorClient, world: World) -> None:
    request = new_request()
    await client.create(request)
    update = SandboxUpdateRequest(sandbox_id=request.sandbox.sandbox_id)
    update.egress.denied_cidrs.append("0.0.0.0/0")
    records = world.settings.data_dir / "records"
    records.rename(records.with_suffix(".away"))
    try:
        with pytest.raises(UnavailableError):
            await client.update(update)
    finally:
        records.with_suffix(".away").rename(records)
    assert world.kernel.sandboxes[request.sandbox.sandbox_id].egress == OPEN


async def test_info(client: OrchestratorClient) -> None:
    await client.create(new_request())
    info: ServiceInfoResponse = await client.info()
    assert info.node_id == "node"
    assert info.service_status == ServiceInfoStatus.Healthy
    assert list(info.service_roles) == [ServiceInfoRole.TemplateBuilder, ServiceInfoRole.Orchestrator]
    assert info.metric_sandboxes_running == 1
    assert info.metric_cpu_allocated == 2
    assert info.metric_memory_allocated_bytes == 512 << 20
    assert 0 < info.metric_memory_used_bytes < info.metric_memory_total_bytes
    assert info.metric_cpu_count >= 1
    assert info.metric_cpu_percent <= 100
    (disk,) = info.metric_disks
    assert 0 < disk.used_bytes <= disk.total_bytes
    assert disk.mount_point.startswith("/")
    assert info.machine_info.cpu_architecture


async def test_draining(client: OrchestratorClient) -> None:
    request = new_request()
    await client.create(request)
    await client.override_status(ServiceInfoStatus.Draining)
    assert (await client.info()).service_status == ServiceInfoStatus.Draining
    with pytest.raises(UnavailableError, match="node is draining and takes no new sandboxes"):
        await client.create(new_request())
    with pytest.raises(ConflictError, match="cannot change node status from draining to standby"):
        await client.override_status(ServiceInfoStatus.Standby)
    await client.delete(SandboxDeleteRequest(sandbox_id=request.sandbox.sandbox_id))
    await client.override_status(ServiceInfoStatus.Healthy)
    await client.create(new_request())


async def test_grpc_health(service: OrchestratorService) -> None:
    async with grpc.aio.insecure_channel(service.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "SandboxService", "InfoService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_taken_ports_are_named_before_anything_is_touched(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for field in ("orchestrator_port", "orchestrator_proxy_port"):
            world.settings = world.settings.model_copy(update={"orchestrator_port": 0, "orchestrator_proxy_port": 0, field: port})
            service = world.new_service()
            with pytest.raises(UnavailableError, match=rf"127\.0\.0\.1 port {port}: .* \(pid \d+\) has it"):
                await service.start()
            await service.stop()
    assert not (world.settings.data_dir / "records").exists()


async def test_an_unknown_driver_is_named(world: World) -> None:
    world.settings = world.settings.model_copy(update={"driver": "magic"})
    with pytest.raises(InvalidError, match="there is no driver 'magic'; known: memory"):
        world.new_service()


async def test_a_node_that_is_gone_is_unavailable(service: OrchestratorService) -> None:
    await service.stop()
    client = OrchestratorClient(service.address)
    with pytest.raises(UnavailableError, match=rf"^orchestrator {service.address} cannot be reached$"):
        await client.list()
    await client.close()
