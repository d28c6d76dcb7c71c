"""The process that unpacks one layer, confined to its directory. Started by `unpacking`; reads a request, says how it went."""

from __future__ import annotations

import gzip
import json
import os
import sys
import tarfile
import zlib
from typing import Any

import zstandard

from sandbank.registry.confinement import confine
from sandbank.registry.layer_stream import LayerStream, TooLargeError
from sandbank.registry.layer_tree import EntryError, LayerTree


def main() -> None:
    """Ends with 0 whenever it could answer."""
    request = json.load(sys.stdin)
    with os.fdopen(request["descriptor"], "rb") as file:
        confine(request["target"])
        json.dump(_outcome(file, request), sys.stdout)


def _outcome(file: Any, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return _unpack(file, request)
    except TooLargeError as error:
        return {"too_large": error.size_bytes}
    except EntryError as error:
        return {"error": str(error)}
    except (tarfile.TarError, zstandard.ZstdError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        return {"error": f"it is damaged: {error}"}
    except (MemoryError, RecursionError):
        return {"error": "it has an entry that does not fit into memory"}
    except OSError as error:
        return {"failed": error.strerror or str(error)}


def _unpack(file: Any, request: dict[str, Any]) -> dict[str, Any]:
    file.seek(0)
    stream = LayerStream(file, request["limit_bytes"])
    tree = LayerTree()
    entries = logical = 0
    with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20, errorlevel=2, encoding="utf-8", errors="surrogateescape") as archive:
        while (entry := archive.next()) is not None:
            entries += 1
            logical += entry.size if entry.isreg() else 0  # a sparse file is longer than what there is of it
            if entries > request["limit_entries"]:
                raise EntryError("it has more entries than an image may have")
            if logical > request["limit_bytes"]:
                raise TooLargeError(logical)
            tree.apply(entry, archive.extractfile(entry) if entry.isreg() else None)
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
    tree.finish()
    if stream.finish() != request["diff_id"]:
        raise EntryError("its content is not what the image's configuration says")
    return {"entries": entries, "size_bytes": max(stream.size, logical), "warnings": tree.warnings}


if __name__ == "__main__":
    main()
