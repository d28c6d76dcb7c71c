"""What users attach to files: extended attributes under `user.e2b.` (data-plane contract §4.5)."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping

from sandbank.domain.errors import InvalidError

PREFIX = "user.e2b."
MAX_KEY_BYTES = 246  # the kernel allows 255 with the prefix
MAX_TOTAL_BYTES = 4096
_VALUE = re.compile(r"[\x20-\x7e]*")
_KEY = re.compile(r"[\x21-\x7e]+")
_HEADER = "x-metadata-"
# Filesystems without these attributes drop the metadata silently; so does a file that vanished meanwhile.
_TOLERATED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENODATA, errno.ENOENT, errno.EPERM, errno.ELOOP})


def from_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The metadata an upload's `X-Metadata-<key>` headers name; `InvalidError` for what cannot be stored."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        if not name.startswith(_HEADER):
            continue
        key = name.removeprefix(_HEADER)
        if not key or len(key) > MAX_KEY_BYTES or not _KEY.fullmatch(key):
            raise InvalidError(f"invalid metadata: key '{key}' must have 1 to {MAX_KEY_BYTES} printable ASCII characters")
        if not _VALUE.fullmatch(value):
            raise InvalidError(f"invalid metadata: value of '{key}' must be printable ASCII")
        found[key] = value
    if sum(len(key) + len(value) for key, value in found.items()) > MAX_TOTAL_BYTES:
        raise InvalidError(f"invalid metadata: keys and values together exceed {MAX_TOTAL_BYTES} bytes")
    return found


def read(target: str | int) -> dict[str, str]:
    """The metadata of a path (not following a link) or a descriptor; values that are no UTF-8 are left out."""
    follow = isinstance(target, int)
    found: dict[str, str] = {}
    try:
        for name in os.listxattr(target, follow_symlinks=follow):
            if name.startswith(PREFIX):
                try:
                    found[name.removeprefix(PREFIX)] = os.getxattr(target, name, follow_symlinks=follow).decode()
                except UnicodeDecodeError:
                    continue
    except OSError as error:
        if error.errno not in _TOLERATED:
            raise
    return found


def replace(descriptor: int, metadata: Mapping[str, str]) -> None:
    """Make `metadata` everything that is attached to an open file."""
    try:
        for name in os.listxattr(descriptor):
            if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in metadata:
                os.removexattr(descriptor, name)
        for key, value in metadata.items():
            os.setxattr(descriptor, PREFIX + key, value.encode())
    except OSError as error:
        if error.errno not in _TOLERATED:
            raise
