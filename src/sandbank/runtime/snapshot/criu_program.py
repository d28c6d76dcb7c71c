"""Which CRIU this machine has, and whether it can do here what sandboxes need."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST = (4, 2)  # older ones fail on kernels since 6.16: bounds of the vDSO, SO_PASSCRED of TCP sockets
HOME = Path("/opt/sandbank")  # where scripts/criu.sh puts it
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Beyond what `criu check` looks at: mapped files of an overlay have to be told apart, processes need their own ids back.
_NEEDED_FEATURES = ("overlayfs_maps", "clone3_set_tid")
_FIX = "scripts/criu.sh, or name one with SANDBANK_CRIU"


@dataclass(frozen=True, slots=True)
class FoundCriu:
    """The one to use. With a `problem` it is not usable, and `fix` says what to do."""

    path: Path | None
    version: str = ""
    problem: str = ""
    fix: str = ""
    tracks_memory: bool = False  # the kernel tells which pages were written since; else each snapshot holds all of them

    @property
    def usable_path(self) -> Path | None:
        """What to start; None when nothing can be saved here."""
        return None if self.problem else self.path


def find_criu(named: Path | None, home: Path = HOME) -> FoundCriu:
    """`named` if there is such a setting, else the newest in the private place, else what is on PATH. Runs it, once per file: 0.2 s."""
    unusable = []
    for path in [named] if named is not None else _candidates(home):
        try:
            found = _examine(path, path.stat().st_mtime_ns)
        except OSError as error:
            found = FoundCriu(path, problem=f"{path}: {error.strerror}", fix="set SANDBANK_CRIU to a program, or not at all")
        if not found.problem:
            return found
        unusable.append(found)
    return unusable[0] if unusable else FoundCriu(None, problem="not installed", fix=_FIX)


def _candidates(home: Path) -> list[Path]:
    private = sorted(home.glob("criu-*/bin/criu"), key=lambda path: _numbers(path.parent.parent.name), reverse=True)
    system = shutil.which("criu", path=_SYSTEM_PATH)
    return [*private, *([] if system is None else [Path(system)])]


@functools.lru_cache(maxsize=16)
def _examine(path: Path, _changed_at: int) -> FoundCriu:
    code, said = _run(path, "--version")
    numbers = _numbers(said) if code == 0 and said.startswith("Version:") else ()
    if not numbers:
        return FoundCriu(path, problem=f"{path} does not run: {said}", fix=_FIX)
    version = ".".join(map(str, numbers))
    if numbers < OLDEST:
        return FoundCriu(path, version, f"{path} is {version}, older than {'.'.join(map(str, OLDEST))}", _FIX)
    for arguments in ((), tuple(word for feature in _NEEDED_FEATURES for word in ("--feature", feature))):
        code, said = _run(path, "check", *arguments)
        if code != 0:
            return FoundCriu(path, version, f"{path} cannot work here: {said}", f"boot another kernel; see `{path} check --all`")
    code, _ = _run(path, "check", "--feature", "mem_dirty_track")
    return FoundCriu(path, version, tracks_memory=code == 0)


def _run(path: Path, *arguments: str) -> tuple[int, str]:
    """Its exit code and the first line of what it said."""
    try:
        done = subprocess.run([path, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    lines = [line for line in (done.stderr + done.stdout).splitlines() if "rlimit:" not in line and not line.startswith("Warn")]
    return done.returncode, lines[0].strip() if lines else f"exit code {done.returncode}"


def _numbers(text: str) -> tuple[int, ...]:
    match = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(map(int, match[0].split("."))) if match else ()
