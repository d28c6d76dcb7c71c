"""The small layer above the base that tells a template about mirrors and certificates; changing them does not rebuild Debian."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sandbank.artifacts.layers import LayerStore
from sandbank.template_manager.adapters.chroot import run_above
from sandbank.template_manager.core.certificates import file_name, split_pem, without
from sandbank.template_manager.core.mirrors import SYSTEM_BUNDLE, Mirrors

_CERTIFICATES = "usr/local/share/ca-certificates"

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

    def get(self, base: Path, mirrors: Mirrors, identity: str) -> Path:
        """The layer of `mirrors` above `base`, made now (half a second) when it is not there yet; `identity` becomes its `/.e2b`."""
        layer_id = self.layer_id(base.name, mirrors)
        found = self._layers.find(layer_id)
        if found is not None:
            return found
        with self._layers.make(layer_id) as upper, tempfile.TemporaryDirectory(prefix="scratch-", dir=self._artifacts) as scratch:
            for name, text in {**mirrors.files(), "/.e2b": identity}.items():
                _write(upper / name.removeprefix("/"), text)
            known = split_pem((base / SYSTEM_BUNDLE.removeprefix("/")).read_text())
            for certificate in without(mirrors.certificates, known):
                _write(upper / _CERTIFICATES / file_name(certificate), certificate)
            run_above(base, upper, Path(scratch), _SCRIPT)
        result = self._layers.find(layer_id)
        assert result is not None
        return result


def _write(path: Path, text: str) -> None:
    # Directories as in the base: what exists in both is merged with the upper one's owner and mode, and those are root's 0755.
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path.write_text(text)
    path.chmod(0o644)
