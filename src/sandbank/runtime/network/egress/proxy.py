"""The proxy itself: redirected connections of sandboxes, judged and carried on."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network

import structlog

from sandbank.aiokit.pace import Pace
from sandbank.aiokit.tasks import TaskGroup
from sandbank.domain.errors import UnavailableError
from sandbank.runtime.network.egress import web
from sandbank.runtime.network.egress.dialler import Dialler
from sandbank.runtime.network.egress.flow import Flow, Handler
from sandbank.runtime.network.egress.lookup import Lookup
from sandbank.runtime.network.egress.pump import both_ways
from sandbank.runtime.network.egress.requests import AmbiguousRequestError
from sandbank.runtime.network.egress.sniff import asked_name
from sandbank.runtime.network.egress.tunnel import Tunnels
from sandbank.runtime.network.egress.verdict import Judge, Verdict
from sandbank.runtime.network.settings import NetworkSettings

_SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h
_BACKLOG = 4096
_ACCEPTS_AT_ONCE = 64
_PAUSE_SECONDS = 0.1
_WEB, _SECURE_WEB = 80, 443

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who has a slot, and what it may reach."""

    sandbox_id: str
    judge: Judge


class EgressProxy:
    """Listens on an address that only redirected connections reach. Who connects is told by the source address, which the firewall has
    checked, and where to by the kernel's own record of the connection; nothing that a client says decides either.

    While it is away the kernel still redirects, and the connections are refused: nobody gets around it.
    """

    def __init__(self, settings: NetworkSettings, address: str, never: Iterable[IPv4Network], handler: Handler | None = None) -> None:
        self._settings = settings
        self._address = address
        self._handler = handler
        self._tenants: dict[str, Tenant] = {}
        self._flows: defaultdict[str, dict[asyncio.Task[None], Flow | None]] = defaultdict(dict)
        self._paces: defaultdict[str, Pace] = defaultdict(partial(Pace, settings.pieces_per_second, settings.pieces_burst))
        self._count = 0
        self._tasks = TaskGroup("egress", lambda name, error: _log.error("egress task failed", task=name, error=repr(error)))
        self._tunnels = Tunnels(self._tasks)
        self._dialler = Dialler(address, never, Lookup(settings), self._tunnels, settings.egress_dial_seconds)
        self._listener: socket.socket | None = None

    @property
    def flow_count(self) -> int:
        """Connections under way."""
        return self._count

    def start(self, tenants: Mapping[str, Tenant]) -> None:
        """Serve, with these slots' addresses known from the first connection on. `UnavailableError` when the port is taken."""
        self._tenants.update(tenants)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._address, self._settings.egress_port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            message = f"the egress proxy cannot listen on {self._address}:{self._settings.egress_port}: {error.strerror}"
            raise UnavailableError(message) from error
        self._listener = listener
        self._listen()

    def _listen(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def close(self) -> None:
        """Stop, resetting what is under way."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self._tasks.close()
        self._tunnels.close()

    def set_tenant(self, source: str, tenant: Tenant | None) -> Tenant | None:
        """Let `tenant` have the slot with that address from now on; None: nobody. Flows that it may not have are reset.

        Returns who had it, to be put back should something else fail.
        """
        before = self._tenants.pop(source, None)
        if tenant is None:
            self._paces.pop(source, None)
        if tenant is not None:
            self._tenants[source] = tenant
        for task, flow in list(self._flows.get(source, {}).items()):
            # One that is not judged yet will be, by whoever has the slot then.
            if tenant is None or before is None or before.sandbox_id != tenant.sandbox_id or (flow and not _may_stay(flow, tenant)):
                task.cancel()
        return before

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            if self._listener is None:
                return
            try:
                client, (source, _) = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of descriptors or memory: the listener stays readable, and looking at once again would be all that the loop does.
                _log.warning("the egress proxy cannot accept", error=error.strerror)
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._listener)
                loop.call_later(_PAUSE_SECONDS, self._listen)
                return
            client.setblocking(False)
            if source not in self._tenants or not self._has_room(source):
                _reset(client)
                continue
            task = self._tasks.start("flow", self._serve(client, source))
            self._flows[source][task] = None
            self._count += 1
            task.add_done_callback(partial(self._ended, source, client))

    def _has_room(self, source: str) -> bool:
        """Of the process's descriptors a quarter at most, and of those no slot more than a quarter, is the proxy's."""
        total = min(self._settings.egress_total_limit, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8)
        return self._count < total and len(self._flows.get(source, ())) < min(self._settings.egress_slot_limit, total // 4)

    def _ended(self, source: str, client: socket.socket, task: asyncio.Task[None]) -> None:
        if client.fileno() >= 0:
            # Reset and not closed: the client learns that something is wrong.
            _reset(client)
        self._count -= 1
        flows = self._flows[source]
        flows.pop(task, None)
        if not flows:
            del self._flows[source]

    async def _serve(self, client: socket.socket, source: str) -> None:
        try:
            if await self._carry(client, source):
                client.close()
        except (OSError, AmbiguousRequestError) as error:
            _log.debug("egress connection ended", source=source, error=str(error))

    async def _carry(self, client: socket.socket, source: str) -> bool:
        """False when the connection is denied."""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        address, port = _original_destination(client)
        tenant = self._tenants.get(source)
        if tenant is None or (address, port) == (self._address, self._settings.egress_port):
            return False
        name: str | None = None
        if port in (_WEB, _SECURE_WEB) and tenant.judge.looks_at_names:
            name = await asked_name(client, port, self._settings.egress_sniff_seconds)
        # Anew: the policy may have changed while the client made up its mind.
        tenant = self._tenants.get(source)
        verdict = tenant.judge.of(name, address) if tenant is not None else Verdict(allowed=False)
        if tenant is None or not verdict.allowed:
            return False
        flow = Flow(source, tenant.sandbox_id, address, port, name, verdict.by_name, tenant.judge.policy)
        task = asyncio.current_task()
        assert task is not None
        self._flows[source][task] = flow
        await self._pass_on(flow, client)
        return True

    async def _pass_on(self, flow: Flow, client: socket.socket) -> None:
        if self._handler is not None and self._handler.takes(flow):
            await self._handler.handle(flow, client, lambda: self._dialler.open(flow))
            return
        upstream = await self._dialler.open(flow)
        try:
            if flow.by_name and flow.port == _WEB and flow.name is not None:
                await web.carry(client, upstream, flow.name, self._settings.egress_idle_seconds, self._paces[flow.source])
            else:
                await both_ways(client, upstream, self._settings.egress_idle_seconds)
        except BaseException:
            _reset(upstream)
            raise
        upstream.close()


def _may_stay(flow: Flow, tenant: Tenant) -> bool:
    verdict = tenant.judge.of(flow.name, flow.address)
    if not verdict.allowed or (verdict.by_name and not flow.by_name):
        return False
    return flow.policy.transforms == tenant.judge.policy.transforms


def _original_destination(client: socket.socket) -> tuple[str, int]:
    """Where the sandbox wanted to go, from the kernel's table of connections. `OSError` when it is not in there."""
    found = client.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
    port, address = struct.unpack_from("!2xH4s", found)
    return socket.inet_ntoa(address), port


def _reset(sock: socket.socket) -> None:
    """Close with a reset, whatever is in its buffers."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    finally:
        sock.close()
