"""Choosing the node for a new sandbox and getting it started there (data-plane contract §10.5)."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterable, Sequence

from sandbank.api.core.ports import NodeLoad, Nodes
from sandbank.api.core.start import SandboxStart, record
from sandbank.domain.errors import (
    ConflictError,
    DeadlineError,
    ExhaustedError,
    InternalError,
    InvalidError,
    NotFoundError,
    SandbankError,
    UnavailableError,
)
from sandbank.domain.sandbox import Sandbox

_SAMPLE = 3
_LOAD_WEIGHT = 0.5
_OVERCOMMIT = 4
_ATTEMPTS = 3
_FULL_WAIT_SECONDS = 20.0  # how long a full node may keep a start waiting for a place
_FULL_PAUSE_SECONDS = 0.05


def score(node: NodeLoad, vcpu: int) -> float:
    """How full the node would be; lower is better. Nodes that do not say how many CPUs they have come last."""
    if node.cpu_count <= 0:
        return float("inf")
    load = vcpu + node.allocated_vcpu + node.starting_vcpu + _LOAD_WEIGHT * node.cpu_percent / 100
    return load / (_OVERCOMMIT * node.cpu_count)


def choose(nodes: Iterable[NodeLoad], vcpu: int, excluded: frozenset[str] = frozenset()) -> NodeLoad | None:
    """The best of a few at random: nearly as even as the best of all, and no two replicas pile onto the same one."""
    usable = [node for node in nodes if node.node_id not in excluded]
    sample: Sequence[NodeLoad] = usable if len(usable) <= _SAMPLE else random.sample(usable, _SAMPLE)
    return min(sample, key=lambda node: score(node, vcpu), default=None)


class SandboxPlacer:
    """Starts sandboxes on nodes."""

    def __init__(self, nodes: Nodes, *, shares_artifacts: bool = False) -> None:
        self._nodes = nodes
        self._shares_artifacts = shares_artifacts

    async def place(self, start: SandboxStart) -> Sandbox:
        """Start it on some node: where its files are, if that can be or has to be.

        Failed or cancelled, nothing of it is left, or will be once the node is seen again. `UnavailableError` where no node can take it,
        `DeadlineError` where one did not answer, `InternalError` where starting failed.
        """
        loop = asyncio.get_running_loop()
        full_until = loop.time() + _FULL_WAIT_SECONDS
        excluded: frozenset[str] = frozenset()
        last: SandbankError | None = None
        while len(excluded) < _ATTEMPTS:
            node = self._choose(start, excluded)
            if node is None:
                break
            try:
                return await self._start(node.node_id, start)
            except ExhaustedError as error:
                elsewhere = excluded | {node.node_id}
                if node.node_id == start.origin_node_id and self._choose(start, elsewhere) is not None:
                    excluded = elsewhere  # the files can be had by a node that has a place
                    continue
                if loop.time() >= full_until:
                    message = f"Failed to place sandbox: {error.message}"
                    raise UnavailableError(message, error_code="sandbox_capacity_unavailable") from error
                await asyncio.sleep(_FULL_PAUSE_SECONDS)
            except (InvalidError, NotFoundError, ConflictError) as error:
                if isinstance(error, ConflictError) and node.node_id != start.origin_node_id is not None:
                    # It lacks the files: they were not in shared storage when the node that has them went away.
                    last = UnavailableError(error.message)
                    excluded |= {node.node_id}
                    continue
                raise InternalError(
                    f"Failed to place sandbox: {error.message}", error_code="sandbox_create_failed", should_retry=False
                ) from error
            except SandbankError as error:
                last = error
                excluded |= {node.node_id}
        raise _failure(last)

    def _choose(self, start: SandboxStart, excluded: frozenset[str]) -> NodeLoad | None:
        only = start.node_id if self._shares_artifacts or start.node_id is not None else start.origin_node_id
        usable = [node for node in self._nodes.candidates() if only in (None, node.node_id)]
        at_home = [node for node in usable if node.node_id == start.origin_node_id]
        return choose(at_home, start.template.vcpu, excluded) or choose(usable, start.template.vcpu, excluded)

    async def _start(self, node_id: str, start: SandboxStart) -> Sandbox:
        execution_id = str(uuid.uuid4())
        try:
            return record(start, await self._nodes.create(node_id, start, execution_id), node_id, execution_id)
        except ExhaustedError:
            raise  # refused at the door
        except BaseException:
            self._nodes.abandon(node_id, start.sandbox_id, execution_id)
            raise


def _failure(last: SandbankError | None) -> SandbankError:
    if last is None:
        return UnavailableError("Failed to place sandbox: no node is ready to take it", error_code="sandbox_no_compatible_node")
    message = f"Failed to place sandbox: {last.message}"
    # Not to be sent again by a client on its own: the node may have done more than it could tell.
    if isinstance(last, DeadlineError):
        return DeadlineError(message, error_code="sandbox_placement_timeout", should_retry=False)
    if isinstance(last, UnavailableError):
        return UnavailableError(message, error_code="sandbox_capacity_unavailable", should_retry=False)
    return InternalError(message, error_code="sandbox_create_failed", should_retry=False)
