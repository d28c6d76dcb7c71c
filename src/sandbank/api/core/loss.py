"""Whether a sandbox survived a save that failed."""

from __future__ import annotations

from sandbank.api.core.ports import SnapshotNodes
from sandbank.domain.errors import InternalError, NotFoundError, SandbankError
from sandbank.domain.sandbox import Sandbox


async def is_lost(nodes: SnapshotNodes, sandbox: Sandbox, failure: SandbankError) -> bool:
    """Whether it is known that it did not; its node is asked where the failure leaves that open."""
    if isinstance(failure, InternalError | NotFoundError):
        try:
            await nodes.set_end(sandbox.node_id, sandbox.sandbox_id, sandbox.end_at)
        except NotFoundError:
            return True
        except SandbankError:
            return False  # until records and nodes are compared
    return False
