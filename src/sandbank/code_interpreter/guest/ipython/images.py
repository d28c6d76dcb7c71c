"""Pillow in a kernel without a screen: `show` opens nothing, and an image that is saved to a file is displayed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULE = "PIL.Image"


def register() -> None:
    """Changes Pillow, now or when it is imported."""
    if MODULE in sys.modules:
        _change(sys.modules[MODULE])
    else:
        sys.meta_path.insert(0, _Finder())


def _change(module: Any) -> None:
    save = module.Image.save

    def save_and_display(self: Any, fp: Any, format: Any = None, **parameters: Any) -> None:  # noqa: A002 - Pillow's name
        save(self, fp, format, **parameters)
        if isinstance(fp, str):
            from IPython.display import display

            display(self)

    module.Image.save = save_and_display
    module.Image.show = lambda self, *_, **__: None


class _Finder(MetaPathFinder):
    """Lets the others find it, once, and changes what they load."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != MODULE:
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        found: ModuleType | None = self._loader.create_module(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _change(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
