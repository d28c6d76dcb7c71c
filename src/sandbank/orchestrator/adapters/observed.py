"""The node's levels as metrics (names: contract templates-and-data §6.4)."""

from __future__ import annotations

from collections.abc import Callable

from sandbank.orchestrator.core.inventory import Inventory
from sandbank.telemetry.metrics import Meter


def observe(meter: Meter, inventory: Inventory, connections: Callable[[], int]) -> None:
    """Have them looked at whenever metrics are sent. Another thread looks: dictionaries are copied in one step before they are read."""
    meter.gauge("orchestrator.env.sandbox.running", "Sandboxes that run.", lambda: len(inventory.running))
    meter.gauge("orchestrator.env.sandbox.starting", "Sandboxes being started.", lambda: len(inventory.starting))
    meter.gauge(
        "orchestrator.sandbox.cpu.allocated", "vCPUs of running sandboxes.", lambda: sum(s.vcpu for s in list(inventory.running.values()))
    )
    meter.gauge(
        "orchestrator.sandbox.memory.allocated",
        "Bytes of memory of running sandboxes.",
        lambda: sum(s.memory_mib for s in list(inventory.running.values())) << 20,
    )
    meter.gauge("orchestrator.proxy.server.connections.open", "Connections to the sandbox proxy.", connections)
