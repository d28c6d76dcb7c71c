"""Running a script as root inside a directory, in namespaces of its own: whatever it starts or mounts ends with it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from sandbank.domain.errors import UnavailableError

# Without a private mount namespace a killed build would leave `/dev` of the host mounted in a directory that the next one removes.
ISOLATED = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--")

_ENTER = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$1" /bin/sh -s'
_ENTER_OVERLAY = 'mount -t overlay -o "userxattr,lowerdir=$2,upperdir=$3,workdir=$4" overlay "$1" && ' + _ENTER

_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}


def run_inside(root: Path, script: str) -> None:
    """Run `script` with sh in `root`; `UnavailableError` with its last words when it fails."""
    _run([*ISOLATED, "sh", "-ec", _ENTER, "enter", str(root)], script)


def run_above(lower: Path, upper: Path, scratch: Path, script: str) -> None:
    """Run `script` with sh in a union of `lower` and `upper`: all it changes ends up in `upper`.

    `scratch` is an empty directory on the same file system. `userxattr`, because that is how sandboxes mount what results.
    """
    work, merged = scratch / "work", scratch / "merged"
    for directory in (work, merged):
        directory.mkdir()
    _run([*ISOLATED, "sh", "-ec", _ENTER_OVERLAY, "enter", *map(str, (merged, lower, upper, work))], script)


def _run(command: Sequence[str], script: str) -> None:
    done = subprocess.run(command, input=script, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
        raise UnavailableError(f"provisioning the template failed with exit code {done.returncode}:\n{tail}")
