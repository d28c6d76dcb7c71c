"""Which file a client means by a path (data-plane contract §3.3)."""

from __future__ import annotations

import posixpath

from sandbank.domain.errors import InvalidError


def resolve(path: str, *, username: str, home: str, default_workdir: str | None) -> str:
    """The absolute path; absolute ones stay verbatim, relative ones count from the home directory and never from the workdir."""
    if "\0" in path:
        raise InvalidError("invalid path: it contains a NUL byte")
    if not path:
        return default_workdir or home
    if path.startswith("~"):
        if path != "~" and not path.startswith("~/"):
            raise InvalidError(f"failed to expand path '{path}' for user '{username}': cannot expand user-specific home dir")
        return posixpath.normpath(home + path[1:])
    if path.startswith("/"):
        return path
    return posixpath.normpath(f"{home}/{path}")


def base_name(path: str) -> str:
    """The last component, of a path that may end in slashes."""
    return path.rstrip("/").rpartition("/")[2] or "/"


def wire_text(path: str) -> str:
    """`path` fit for a message: bytes that are no UTF-8 become replacement characters."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
