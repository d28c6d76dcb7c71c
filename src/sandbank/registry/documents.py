"""Small bodies, read whole and never more than they may be."""

from __future__ import annotations

import httpx

from sandbank.registry.manifest import LARGEST_DOCUMENT_BYTES


async def read_document(response: httpx.Response, limit_bytes: int = LARGEST_DOCUMENT_BYTES) -> bytes:
    """The body; `ValueError` once it is longer than `limit_bytes`."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit_bytes:
            raise ValueError(f"a document has more than {limit_bytes} bytes")
    return bytes(body)
