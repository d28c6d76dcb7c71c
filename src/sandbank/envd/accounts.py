"""Users and groups of the sandbox.

`/etc/passwd` and `/etc/group` are read and parsed here: the C library's lookups may load plugins named by the sandbox's
`nsswitch.conf` into this process, and the agent must not run what a template brings along.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sandbank.envd import text_file


@dataclass(frozen=True, slots=True)
class Account:
    """One line of `/etc/passwd`."""

    name: str
    uid: int
    gid: int
    home: str


def _lines(path: str, fields: int, prefix: str = "", part: str = "") -> Iterator[list[str]]:
    try:
        text = text_file.read(path)
    except OSError:  # the sandbox made something of it that names nobody
        return
    for line in text.split("\n"):
        if line.startswith(prefix) and part in line:  # before anything dearer: the file may have any size
            parts = line.split(":")
            if len(parts) >= fields:
                yield parts


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 2**32 - 1


def list_accounts(prefix: str = "") -> Iterator[Account]:
    """Every well-formed account whose line begins with `prefix`."""
    for name, _, uid, gid, _, home, *_ in _lines("/etc/passwd", 7, prefix):
        if _is_id(uid) and _is_id(gid):
            yield Account(name, int(uid), int(gid), home or "/")


def find_account(name: str) -> Account | None:
    """The account called `name`."""
    return next((account for account in list_accounts(f"{name}:") if account.name == name), None)


def group_ids(account: Account) -> list[int]:
    """The primary group and every supplementary one, as `initgroups` would set them."""
    groups = [account.gid]
    for _, _, gid, members, *_ in _lines("/etc/group", 4, part=account.name):
        if _is_id(gid) and int(gid) not in groups and account.name in members.split(","):
            groups.append(int(gid))
    return groups


class Names:
    """Names of numeric owners, read once; made per request because templates change their users."""

    def __init__(self) -> None:
        self._users: dict[int, str] = {}
        for account in list_accounts():
            self._users.setdefault(account.uid, account.name)
        self._groups: dict[int, str] = {}
        for name, _, gid, *_ in _lines("/etc/group", 4):
            if _is_id(gid):
                self._groups.setdefault(int(gid), name)

    def user(self, uid: int) -> str:
        """The user's name, or the number as text."""
        return self._users.get(uid) or str(uid)

    def group(self, gid: int) -> str:
        """The group's name, or the number as text."""
        return self._groups.get(gid) or str(gid)
