"""Making directories for a user."""

from __future__ import annotations

import os
import stat

from sandbank.domain.errors import InternalError
from sandbank.envd.accounts import Account

MODE = 0o755


def ensure_directory(path: str, account: Account) -> None:
    """Make `path` and its missing parents, each 0755 and owned by `account`; `InternalError` when something else is in the way.

    `OSError` travels on where the caller must tell a full disk from other failures (ENOSPC, EDQUOT).
    """
    missing: list[str] = []
    current = path.rstrip("/") or "/"
    while True:
        try:
            if not stat.S_ISDIR(os.stat(current).st_mode):
                raise InternalError(f"path is a file: {current}")
            break
        except FileNotFoundError:
            missing.append(current)
            current = os.path.dirname(current)
        except NotADirectoryError:
            current = os.path.dirname(current)
            missing.clear()
    for name in reversed(missing):
        try:
            os.mkdir(name, MODE)
        except FileExistsError:
            continue  # another request was faster
        os.chown(name, account.uid, account.gid)
