"""The node's allowance of inotify, out of which restored sandboxes have theirs."""

from __future__ import annotations

from pathlib import Path

from sandbank.runtime.drivers.namespaces.restore_request import INOTIFY_INSTANCES, INOTIFY_WATCHES

_MOST = 2**31 - 1
_LIMITS = {"max_user_instances": INOTIFY_INSTANCES, "max_user_watches": INOTIFY_WATCHES}


def raise_limits(sandboxes: int) -> tuple[str, ...]:
    """Let root of the node have as much as that many sandboxes together; answers what an operator has to know of a node that refuses."""
    warnings = []
    for name, each in _LIMITS.items():
        path, wanted = Path("/proc/sys/fs/inotify", name), min(sandboxes * each, _MOST)
        try:
            if int(path.read_text(encoding="ascii")) < wanted:
                path.write_text(str(wanted), encoding="ascii")
        except OSError as error:
            warnings.append(
                f"resumed sandboxes share the node's inotify allowance: fs.inotify.{name} cannot be set to {wanted}: {error.strerror}"
            )
    return tuple(warnings)
