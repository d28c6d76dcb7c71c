"""Tries what sandboxes' file systems need: an overlay, mounted from inside a user namespace, whose layers are idmapped mounts.

Run as a program of its own (`python -m sandbank.cli.overlay_trial DIRECTORY`), in a mount namespace that ends with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sandbank.runtime.linux.libc import CLONE_NEWNS, CLONE_NEWUSER, unshare
from sandbank.runtime.linux.mounts import bind_idmapped, mount, unmount

_FIRST_UID, _UIDS = 3_000_000_000, 65_536


def try_idmapped_overlay(directory: Path) -> str:
    """Nothing when it works on the file system of `directory`, else why not. Takes half a second and leaves nothing."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "sandbank.cli.overlay_trial", str(directory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")


def main(directory: Path) -> None:
    """Raise `OSError` at what does not work."""
    with tempfile.TemporaryDirectory(prefix=".sandbank-trial-", dir=directory) as scratch:
        root = Path(scratch)
        root.chmod(0o755)
        for name in ("lower", "data/upper", "data/work", "merged"):
            (root / name).mkdir(parents=True)
        (root / "lower/greeting").write_text("hello")
        os.chdir(root)  # relative paths from here on: inside, nobody may pass through a directory that only root may
        from_child, to_parent = os.pipe()
        from_parent, to_child = os.pipe()
        child = os.fork()
        if child == 0:
            os._exit(_inside(to_parent, from_parent))
        os.close(to_parent)
        try:
            os.read(from_child, 1)  # it has its user namespace
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{child}/{name}").write_text(f"0 {_FIRST_UID} {_UIDS}\n")
            namespace = os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            for name in ("lower", "data"):
                bind_idmapped(str(root / name), str(root / name), namespace)
            os.write(to_child, b"1")
        finally:
            os.close(to_child)
            _, status = os.waitpid(child, 0)
        for name in ("data", "lower"):
            unmount(str(root / name))  # or the scratch directory could not be removed
        if os.waitstatus_to_exitcode(status) != 0:
            raise OSError("mounting or writing to the overlay failed inside the user namespace")
        if (root / "data/upper/greeting").stat().st_uid != 0:
            raise OSError("files written through the idmapped overlay have the wrong owner")


def _inside(to_parent: int, from_parent: int) -> int:
    try:
        unshare(CLONE_NEWUSER)
        os.write(to_parent, b"1")
        if not os.read(from_parent, 1):
            return 1
        os.setgid(0)
        os.setuid(0)
        unshare(CLONE_NEWNS)
        options = "userxattr,lowerdir=lower,upperdir=data/upper,workdir=data/work"
        mount("overlay", "merged", "overlay", 0, options)
        Path("merged/greeting").write_text("hello, copied up")
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except OSError as failure:
        sys.exit(str(failure))
