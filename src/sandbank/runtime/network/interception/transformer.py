"""Takes over connections to names that a sandbox's policy has headers for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter, OrderedDict

from sandbank.aiokit.pace import Pace
from sandbank.runtime.driver import SecretSource
from sandbank.runtime.network.egress.flow import Flow, OpenUpstream
from sandbank.runtime.network.interception.authority import Authority
from sandbank.runtime.network.interception.relay import Relay
from sandbank.runtime.network.interception.rewriting import Rewriter, headers_for
from sandbank.runtime.network.interception.streams import Stream, accepted, connected
from sandbank.runtime.network.interception.trust import UpstreamTrust
from sandbank.runtime.network.settings import NetworkSettings

_SECURE_WEB = 443
# A certificate and two handshakes take some 4 ms of a loop that all sandboxes share, a piece of a request 5 µs.
_HANDSHAKE_UNITS = 800
_PACES = 8192


class HeaderTransformer:
    """Implements `sandbank.runtime.network.egress.flow.Handler`.

    Towards the sandbox it is the server, by a certificate of the node's authority; towards the server an ordinary client that checks
    its certificate against what the node trusts. The values are read here and nowhere else: never inside, and never on disk.
    """

    def __init__(self, authority: Authority, source: SecretSource, trust: UpstreamTrust, settings: NetworkSettings) -> None:
        self._authority = authority
        self._source = source
        self._trust = trust
        self._settings = settings
        self._paces: OrderedDict[str, Pace] = OrderedDict()
        self._open: Counter[str] = Counter()

    def open(self) -> None:
        """Load or make the authority, and read what the node trusts, which takes long: blocking. `InvalidError` for a broken authority."""
        self._authority.open()
        with contextlib.suppress(OSError):  # said to whoever needs it
            self._trust.context()

    def takes(self, flow: Flow) -> bool:
        """Those dialled by a name with a rule."""
        return flow.name is not None and flow.by_name and headers_for(flow.name, flow.policy.transforms) is not None

    async def handle(self, flow: Flow, client: socket.socket, open_upstream: OpenUpstream) -> None:
        """See `Handler.handle`. `OSError` when the sandbox has too many already, or all together."""
        limits = self._settings
        if self._open[flow.source] >= limits.transformed_slot_limit or self._open.total() >= limits.transformed_total_limit:
            raise OSError("too many connections with header rules")
        self._open[flow.source] += 1
        try:
            await self._handle(flow, client, open_upstream)
        finally:
            self._open[flow.source] -= 1
            self._open += Counter()  # without those that have none

    async def _handle(self, flow: Flow, client: socket.socket, open_upstream: OpenUpstream) -> None:
        name = flow.name
        headers = None if name is None else headers_for(name, flow.policy.transforms)
        assert name is not None
        assert headers is not None
        is_secure = flow.port == _SECURE_WEB
        rewriter = Rewriter(flow.sandbox_id, name, headers, self._source, is_secure=is_secure)

        async def open_stream() -> Stream:
            context = self._trust.context() if is_secure else None
            return await connected(await open_upstream(), context, name)

        pace = self._pace_of(flow.sandbox_id)
        if is_secure:
            await asyncio.sleep(pace.delay(_HANDSHAKE_UNITS, asyncio.get_running_loop().time()))
        stream = await accepted(client, self._authority.context_for(name) if is_secure else None)
        try:
            await Relay(stream, open_stream, rewriter.rewrite, pace, self._settings.egress_idle_seconds).run()
        finally:
            stream.abort()

    def _pace_of(self, sandbox_id: str) -> Pace:
        pace = self._paces.pop(sandbox_id, None) or Pace(self._settings.pieces_per_second, self._settings.pieces_burst)
        self._paces[sandbox_id] = pace
        if len(self._paces) > _PACES:
            self._paces.popitem(last=False)
        return pace
