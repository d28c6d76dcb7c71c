"""Whether a node takes new sandboxes (contract data-plane §9.3)."""

from __future__ import annotations

import enum
from datetime import datetime

from sandbank.domain.errors import ConflictError, UnavailableError
from sandbank.orchestrator.core.ports import Clock


class NodeStatus(enum.Enum):
    """Only a healthy node takes new sandboxes; every other one goes on serving those it has."""

    HEALTHY = "healthy"
    DRAINING = "draining"
    UNHEALTHY = "unhealthy"
    STANDBY = "standby"


class StatusBoard:
    """The node's status and since when it holds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.status = NodeStatus.HEALTHY
        self.changed_at: datetime = clock()

    def change(self, status: NodeStatus) -> None:
        """`ConflictError` for draining → standby: a node that is being emptied does not become a spare."""
        if self.status is NodeStatus.DRAINING and status is NodeStatus.STANDBY:
            raise ConflictError("cannot change node status from draining to standby")
        if status is not self.status:
            self.status = status
            self.changed_at = self._clock()

    def check_takes_sandboxes(self) -> None:
        """`UnavailableError`, on which a placement tries another node, unless healthy."""
        if self.status is not NodeStatus.HEALTHY:
            raise UnavailableError(f"node is {self.status.value} and takes no new sandboxes")
