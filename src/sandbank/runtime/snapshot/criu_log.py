"""CRIU's log, and what of it a user can do something with."""

from __future__ import annotations

import re
from pathlib import Path

_ERROR = re.compile(r"^\(\d+\.\d+\)\s*(?:\d+:\s*)?Error \((?P<where>[^)]*)\):\s*(?P<text>.*)$")
# Said of the way CRIU is run, or by whoever only passes another's failure on.
_NOISE = re.compile(r"rlimit: Can't setup|Dumping FAILED|Restoring FAILED|Dump \w+.* failed|RPC client reported|exited, status=|Can't dump .* failed with -1$")
# What users have made that has no copy, by CRIU's words for it.
_REASONS = (
    (re.compile(r"io_uring|anon_inode:\[io_uring\]", re.I), "a process uses io_uring"),
    (re.compile(r"Can't lookup mount|Unable to dump fanotify", re.I), "a file outside the sandbox is open"),
    (re.compile(r"unsupported (?:inet )?(?:socket )?proto|Unsupported proto|Unknown socket|Unsupported socket type|unsupp", re.I), "a socket of a kind that cannot be saved is open"),
    (re.compile(r"packet socket|netlink.*not supported|Netlink", re.I), "a netlink or packet socket with unread data is open"),
    (re.compile(r"Ghost file .* too big|ghost-limit", re.I), "a deleted file that is too large is still open"),
    (re.compile(r"Can't dump file .* of that type|Unknown type of file|Unsupported file", re.I), "a file of a kind that cannot be saved is open"),
    (re.compile(r"Can't unlink|linked file .* no name|Can't create link remap", re.I), "a deleted file is still open"),
    (re.compile(r"ptrace|already traced|is being traced", re.I), "a process is being debugged"),
    (re.compile(r"No space left|ENOSPC|Disk quota", re.I), "no space left on the device"),
)  # fmt: skip


def errors(log: Path) -> list[str]:
    """The log's own error lines, without where in CRIU they come from; none when there is no log."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = (_ERROR.match(line) for line in text.splitlines())
    return [match["text"].strip() for match in found if match is not None and not _NOISE.search(match["text"])]


def reason(log: Path) -> str:
    """Why CRIU failed, in one line; empty when the log does not say."""
    said = errors(log)
    for text in said:
        for pattern, meaning in _REASONS:
            if pattern.search(text):
                return f"{meaning} ({text})"
    return said[0] if said else ""
