"""`GET /metrics`: what the sandbox uses of what it was given (data-plane contract §4.3)."""

from __future__ import annotations

import time
from typing import Any

from sandbank.envd import usage
from sandbank.envd.state import AgentState
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response

_MIB = 1024 * 1024


class Metrics:
    """The handler; CPU is measured between calls."""

    def __init__(self, state: AgentState) -> None:
        self._state = state
        self._last: tuple[float, float] | None = None

    def _cpu_percent(self) -> float:
        now, used = time.monotonic(), usage.cpu_seconds(self._state.memory_limit_bytes)
        last, self._last = self._last, (now, used)
        if last is None or now <= last[0]:
            return 0.0
        share = (used - last[1]) / (now - last[0]) / self._state.cpu_count
        return round(min(max(share, 0.0), 1.0) * 100, 2)

    def collect(self) -> dict[str, Any]:
        """One measurement. The limits of memory and processors are the sandbox's configuration."""
        total = self._state.memory_limit_bytes
        memory = usage.memory(total)
        disk_total, disk_used = usage.disk()
        return {
            "ts": int(time.time()),
            "cpu_count": self._state.cpu_count,
            "cpu_used_pct": self._cpu_percent(),
            "mem_total": total,
            "mem_used": memory.used,
            "mem_cache": memory.cached,
            "mem_total_mib": total // _MIB,
            "mem_used_mib": memory.used // _MIB,
            "disk_total": disk_total,
            "disk_used": disk_used,
        }

    async def __call__(self, request: Request, response: Response) -> None:
        """The measurement as JSON; 500 without a body when there is none (§4.3)."""
        try:
            measured = self.collect()
        except OSError:
            await response.send(500, {})
            return
        await response.send_json(200, measured, {"Cache-Control": "no-store"})
