"""What an earlier driver left: sandboxes that still run, and everything that is to go."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from sandbank.runtime.cgroup.group import Groups
from sandbank.runtime.drivers.namespaces import process
from sandbank.runtime.drivers.namespaces.home import Homes, Record

_GONE_SECONDS = 5.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Found:
    """Sandboxes to adopt, and the names of those whose remains were removed."""

    alive: list[Record] = field(default_factory=list)
    reclaimed: list[str] = field(default_factory=list)


def sort_out(homes: Homes, groups: Groups) -> Found:
    """Look at every record, then remove every process, cgroup and home that belongs to none that lives. Blocks."""
    found = Found()
    for record in homes.records():
        if not record.frozen and _lives(record):
            found.alive.append(record)
    keep = {name for record in found.alive for name in (record.sandbox_id, record.group_name)}
    for name in sorted({*homes.names(), *groups.names()} - keep):
        _remove(name, groups, homes)
        found.reclaimed.append(name)
    return found


def clear_plain_homes(homes: Homes) -> str:
    """Empty the directory of homes, so that a file system can be mounted there; answers why not while a sandbox runs from it, or anything
    else is kept there. Blocks.
    """
    if any(_lives(record) for record in homes.records()):
        return "sandboxes run that were started without, and none gets one until a start that finds none running"
    if others := homes.others():
        # A file system mounted there would hide what was promised to be kept.
        return f"{others[0]} was made without; move it away, and after the next start back to where it was"
    for name in homes.names():
        homes.discard(name)
    homes.empty_trash()
    return ""


def end(record: Record, groups: Groups, homes: Homes) -> None:
    """End a sandbox that runs but cannot be adopted, and remove what is left of it. Blocks."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.pid, signal.SIGKILL)
    _remove(record.sandbox_id, groups, homes, record.group_name)


def _remove(name: str, groups: Groups, homes: Homes, group_name: str = "") -> None:
    group = groups.group(group_name or name)
    with contextlib.suppress(OSError):
        group.thaw()  # who is frozen does not die
    _end_all(group.pids)
    try:
        group.remove()
    except OSError as error:
        _log.warning("a cgroup of a former sandbox stays", sandbox_id=name, error=str(error))
    homes.discard(name)


def _lives(record: Record) -> bool:
    try:
        return process.start_time(record.pid) == record.start_time and process.outer_uid(record.pid) == record.base_uid
    except OSError:
        return False


def _end_all(pids: Callable[[], list[int]]) -> None:
    deadline = time.monotonic() + _GONE_SECONDS
    while (members := pids()) and time.monotonic() < deadline:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
