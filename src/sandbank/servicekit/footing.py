"""What a service process does once before it serves."""

from __future__ import annotations

import gc
import resource

# Objects made between two looks at the youngest generation. Requests make many and keep few; the default of 700 looks far too often.
_YOUNG_OBJECTS = 50_000


def allow_open_files() -> None:
    """Use as many descriptors as the node allows: each connection of a proxy takes two, each sandbox a handful."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def settle_memory() -> None:
    """Call when everything is imported and built: what exists now is never looked at by the collector again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)
