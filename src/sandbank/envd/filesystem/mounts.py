"""Which filesystem a path is on."""

from __future__ import annotations

import os

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse", "fuseblk"})


def is_network_mount(path: str) -> bool:
    """Whether changes at `path` may come from elsewhere, unseen by the kernel here: NFS, CIFS, SMB or FUSE.

    Told by the mount table rather than by statfs, which the standard library lacks the type field of.
    """
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            mount, _, rest = line.partition(" - ")
            if mount.split(" ")[2] == wanted:
                kind = rest.split(" ")[0]
                if kind in _NETWORK or kind.startswith("fuse."):
                    return True
    return False
