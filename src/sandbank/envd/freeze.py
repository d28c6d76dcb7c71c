"""The endpoints around snapshots and upgrades (data-plane contract §4.9, §14.4).

Here the node freezes a sandbox by its cgroup, agent included, and dumps, syncs or upgrades it from outside: the system call filter lets
nothing in here flush the node's disks. So there is nothing to do for any of them, and the answers say so in the shape that a control plane
expects.
"""

from __future__ import annotations

from sandbank.envd.state import AgentState
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response
from sandbank.envd.transport.router import Router

UPGRADE_TARGET = "/usr/bin/envd.next"
_MODES = frozenset({"", "legacy", "hierarchy"})
_COUNTS = ("visited", "allowlisted", "preFrozen", "requested", "frozen", "notFrozen", "failed", "unobservable", "sweepMs", "waitMs")
_COLLAPSE_COUNTS = ("regions", "chunks", "collapsed", "alreadyHuge", "skipped", "elapsedMs")


class Freeze:
    """All of the family; only the node reaches them, because the proxies answer 404 in their place (§7.7)."""

    def __init__(self, state: AgentState) -> None:
        self._state = state

    def register(self, router: Router) -> None:
        """Put each on its path."""
        router.add("POST", "/freeze", self.freeze)
        router.add("POST", "/unfreeze", self.nothing)
        router.add("POST", "/fsfreeze", self.nothing)
        router.add("POST", "/fsthaw", self.nothing)
        router.add("POST", "/collapse", self.collapse)
        router.add("POST", "/upgrade", self.upgrade)

    async def freeze(self, request: Request, response: Response) -> None:
        """204, or 200 with counts when `maxWaitMs` asks for them; 400 for an unknown mode."""
        mode = request.query.get("mode", "")
        if mode not in _MODES:
            await response.send_error(400, "invalid mode: must be legacy or hierarchy")
        elif "maxWaitMs" not in request.query:
            await response.send(204, {})
        else:
            await response.send_json(200, {"mode": mode or "legacy", "truncated": False, **dict.fromkeys(_COUNTS, 0)})

    async def nothing(self, request: Request, response: Response) -> None:
        """204: nothing in here was or is to be stopped."""
        await response.send(204, {})

    async def collapse(self, request: Request, response: Response) -> None:
        """200: no region was collapsed; huge pages would only unshare what all sandboxes share."""
        await response.send_json(200, dict.fromkeys(_COLLAPSE_COUNTS, 0))

    async def upgrade(self, request: Request, response: Response) -> None:
        """409 before `/init`, 400 for any target but the one, and 501: this agent runs no binary of the sandbox's."""
        if not self._state.is_initialised:
            await response.send_error(409, "envd not initialized")
        elif request.headers.get("x-envd-upgrade-bin", UPGRADE_TARGET) != UPGRADE_TARGET:
            await response.send_error(400, "unsupported upgrade target")
        else:
            await response.send_error(501, "this agent belongs to the node and is upgraded with it")
