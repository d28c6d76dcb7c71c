"""What kind of content a file has, by its extension or its first bytes.

A table of our own: the standard library's reads files of the host, and templates may lack theirs.
"""

from __future__ import annotations

SNIFF_BYTES = 512
FALLBACK = "application/octet-stream"

_BY_EXTENSION = {
    ".avif": "image/avif",
    ".css": "text/css; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".gif": "image/gif",
    ".htm": "text/html; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".wav": "audio/x-wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".xml": "text/xml; charset=utf-8",
    ".zip": "application/zip",
}
_BY_FIRST_BYTES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b\x08", "application/x-gzip"),
    (b"\x00asm", "application/wasm"),
)
_BY_FIRST_WORDS = (
    (b"<!doctype html", "text/html; charset=utf-8"),
    (b"<html", "text/html; charset=utf-8"),
    (b"<?xml", "text/xml; charset=utf-8"),
)
_BINARY = frozenset((*range(0x09), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)))


def by_extension(name: str) -> str | None:
    """The type of `name`'s extension, if it is a known one."""
    stem, dot, extension = name.rpartition(".")
    return _BY_EXTENSION.get("." + extension.lower()) if dot and stem is not None else None


def by_content(first_bytes: bytes) -> str:
    """The type that the first 512 bytes suggest; text unless they hold a control byte that text has not."""
    head = first_bytes[:SNIFF_BYTES]
    for magic, kind in _BY_FIRST_BYTES:
        if head.startswith(magic):
            return kind
    text = head.lstrip(b"\t\n\x0c\r ").lower()
    for word, kind in _BY_FIRST_WORDS:
        if text.startswith(word):
            return kind
    return FALLBACK if _BINARY.intersection(head) else "text/plain; charset=utf-8"
