"""Archives of the files that the recipe copies: the same bytes for the same files, wherever they are made."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Archive:
    """A gzipped tar file; its hash is the name under which a builder keeps it."""

    content: bytes

    @property
    def sha256(self) -> str:
        """64 hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()


def archive(directory: str) -> Archive:
    """A directory beside this module, under its own name. Times, owners and what running it leaves are not in it."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted([HERE / directory, *(HERE / directory).rglob("*")]):
            if "__pycache__" in path.parts:
                continue
            info = tarfile.TarInfo(path.relative_to(HERE).as_posix())
            if path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            else:
                content = path.read_bytes()
                info.size, info.mode = len(content), 0o644
                tar.addfile(info, io.BytesIO(content))
    return Archive(gzip.compress(plain.getvalue(), mtime=0))
