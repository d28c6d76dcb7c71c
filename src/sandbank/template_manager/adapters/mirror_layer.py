"""The small layer above the base that tells a template about mirrors and certificates; changing them does not rebuild Debian."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sandbank.artifacts.layers import LayerStore
from sandbank.template_manager.adapters.chroot import run_above
from sandbank.template_manager.core.certificates import file_name, split_pem, without
from sandbank.template_manager.core.mirrors import SYSTEM_BUNDLE, Mirrors
from sandbank.template_manager.core.provisioning import finalize_script

_CERTIFICATES = "/usr/local/share/ca-certificates"

# Where distributions look for authorities besides their own, and keep the bundle that results.
_ANCHORS = (_CERTIFICATES, "/etc/pki/ca-trust/source/anchors", "/etc/ca-certificates/trust-source/anchors")
_BUNDLES = (SYSTEM_BUNDLE, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_MOST_LINKS = 40
_USUAL_SOURCES = "/etc/apt/sources.list.d/debian.sources"  # where Debian's images have them
_LARGEST_BUNDLE_BYTES = 4 << 20

# The modes of directories that are in both layers are the upper one's, and everything in /usr/local belongs to everybody.
_SCRIPT = """
set -eu
update-ca-certificates
for directory in /usr/local /usr/local/etc /usr/local/share /usr/local/share/ca-certificates; do
    if [ -d "$directory" ]; then chmod 777 "$directory"; fi
done
"""


class MirrorLayer:
    """Makes and keeps the layers of mirror settings above one base."""

    def __init__(self, layers: LayerStore, artifacts: Path) -> None:
        self._layers = layers
        self._artifacts = artifacts

    @staticmethod
    def layer_id(base_id: str, mirrors: Mirrors) -> str:
        """What the layer of `mirrors` above that base is called."""
        return f"mirrors-{mirrors.digest}-{base_id.rpartition('-')[2][:12]}"

    def get(self, base: Path, mirrors: Mirrors, *, identity: Mapping[str, str] | None = None, is_own: bool = True) -> Path:
        """The layer of `mirrors` above `base`, made now (half a second) when it is not there yet; `identity` becomes its `/.e2b`.

        Nothing of a base that is not our own is run: its bundles are written here, and made again by its own means when it has packages
        installed in a sandbox.
        """
        layer_id = self.layer_id(base.name, mirrors)
        found = self._layers.find(layer_id)
        if found is not None:
            return found
        with self._layers.make(layer_id) as upper, tempfile.TemporaryDirectory(prefix="scratch-", dir=self._artifacts) as scratch:
            above = _Above(base, upper)
            for name, text in mirrors.files().items():
                above.write(name, text)
            if mirrors.apt_sources and not is_own and above.read(_USUAL_SOURCES):
                above.write(_USUAL_SOURCES, "# see /etc/apt/sources.list\n")
            if is_own:
                known = split_pem(above.read(SYSTEM_BUNDLE))
                for certificate in without(mirrors.certificates, known):
                    above.write(f"{_CERTIFICATES}/{file_name(certificate)}", certificate)
                run_above(base, upper, Path(scratch), _SCRIPT + (finalize_script(identity) if identity is not None else ""))
            elif mirrors.certificates:
                _write_trust(above, mirrors.certificates)
        result = self._layers.find(layer_id)
        assert result is not None
        return result


def read_text(layer: Path, name: str) -> str:
    """A file of a layer that nobody changes, after its links, as if the layer were `/`; empty when there is none."""
    return _Above(layer, layer).read(name)


def _write_trust(above: _Above, certificates: tuple[str, ...]) -> None:
    texts = {name: above.read(name) for name in _BUNDLES}
    usual = next((text for text in texts.values() if text), "")
    for name, text in texts.items():
        if text or name == SYSTEM_BUNDLE:
            above.write(name, "".join([text or usual, *without(certificates, split_pem(text or usual))]))
    for directory in _ANCHORS:
        for certificate in certificates:
            above.write(f"{directory}/{file_name(certificate)}", certificate)


class _Above:
    """Files above a layer that nobody changes, where the links of that layer lead them."""

    def __init__(self, base: Path, upper: Path) -> None:
        self._base = base
        self._upper = upper

    def read(self, name: str) -> str:
        """A file of the base; empty when there is none."""
        resolved = self._resolve(name)
        if resolved is None:
            return ""
        path = self._base / resolved
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return ""
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return ""
            return file.read(_LARGEST_BUNDLE_BYTES).decode(errors="replace")

    def write(self, name: str, text: str) -> None:
        """World-readable, in directories as the base has them: what is in both is merged with the upper one's owner and mode."""
        *parents, last = (self._resolve(name) or Path(name.removeprefix("/"))).parts
        lower, upper = self._base, self._upper
        for part in parents:
            lower, upper = lower / part, upper / part
            if not upper.is_dir():
                upper.mkdir()
                status = lower.lstat() if lower.is_dir() else None
                upper.chmod(stat.S_IMODE(status.st_mode) if status else 0o755)
                os.chown(upper, status.st_uid if status else 0, status.st_gid if status else 0)
        path = upper / last
        path.write_text(text)
        path.chmod(0o644)

    def _resolve(self, name: str) -> Path | None:
        """Where `name` leads in the base, relative to it and without a link in it, as if the base were `/`; `None` for nowhere."""
        waiting = [part for part in reversed(Path(name).parts) if part != "/"]
        done: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                del done[-1:]
                continue
            path = self._base.joinpath(*done, part)
            if path.is_symlink():
                links += 1
                if links > _MOST_LINKS:
                    return None
                target = Path(os.readlink(path))
                if target.is_absolute():
                    done.clear()
                waiting += [piece for piece in reversed(target.parts) if piece != "/"]
            elif waiting and path.exists() and not path.is_dir():
                return None  # a file in the way of a directory
            else:
                done.append(part)
        return Path(*done) if done else None
