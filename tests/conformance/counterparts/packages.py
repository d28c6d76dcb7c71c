"""Libraries of this environment for programs inside a sandbox, whose Python takes the same extensions."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from types import ModuleType


def archive(*modules: ModuleType) -> bytes:
    """An uncompressed tar file with these modules and packages."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for module in modules:
            assert module.__file__ is not None
            file = Path(module.__file__)
            path = file.parent if file.name == "__init__.py" else file
            tar.add(path, path.name)
    return content.getvalue()
