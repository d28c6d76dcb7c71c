"""`GET /files` (data-plane contract §4.4)."""

from __future__ import annotations

import asyncio
import os
import re
import zlib
from urllib.parse import quote

from sandbank.envd.files import media_type
from sandbank.envd.files.negotiation import choose_encoding, failed_precondition, parse_date, parse_range
from sandbank.envd.files.request_target import requested_account
from sandbank.envd.files.signature import authorise
from sandbank.envd.files.source import WINDOW_BYTES, bring_in, open_source
from sandbank.envd.paths import base_name
from sandbank.envd.state import AgentState
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response, http_date

PIECE_BYTES = 256 * 1024
SMALL_BYTES = 64 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9!#$&+\-.^_`|~{}*'%]+")


def _disposition(name: str) -> str:
    """`name` as a header parameter: bare, quoted, or percent-encoded when it is not ASCII (RFC 2231)."""
    if _TOKEN.fullmatch(name) and not set(name) & set("*'%"):
        return f"inline; filename={name}"
    if name.isascii() and name.isprintable():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'inline; filename="{escaped}"'
    return f"inline; filename*=utf-8''{quote(os.fsencode(name), safe='')}"


class Download:
    """The handler; memory per download is a piece and what the peer has not taken yet."""

    def __init__(self, state: AgentState) -> None:
        self._state = state

    async def __call__(self, request: Request, response: Response) -> None:
        """Send the file whole, in part, compressed, or not at all when the client has it."""
        authorise(request, "read", self._state.access_token)
        path = self._state.resolve(request.query.get("path", ""), requested_account(self._state, request))
        descriptor = open_source(path)
        try:
            await self._send(request, response, path, descriptor)
        finally:
            os.close(descriptor)

    async def _send(self, request: Request, response: Response, path: str, descriptor: int) -> None:
        response.headers["Vary"] = ", ".join(filter(None, (response.headers.get("Vary"), "Accept-Encoding")))
        encoding = choose_encoding(request.headers)
        if encoding is None:
            await response.send_error(406, "no acceptable encoding: supported are gzip and identity")
            return
        headers = {"Content-Disposition": _disposition(base_name(path))}
        kind = media_type.by_extension(base_name(path))
        if encoding == "gzip":
            headers["Content-Type"] = kind or media_type.FALLBACK
            response.start(200, {**headers, "Content-Encoding": "gzip"})
            await _send_compressed(response, descriptor)
        else:
            sniffed = b"" if kind else await _first_bytes(descriptor)
            headers["Content-Type"] = kind or media_type.by_content(sniffed)
            await _send_plain(request, response, descriptor, headers)


async def _first_bytes(descriptor: int) -> bytes:
    await bring_in(descriptor, 0, 1)
    return os.pread(descriptor, media_type.SNIFF_BYTES, 0)


async def _send_compressed(response: Response, descriptor: int) -> None:
    compressor = zlib.compressobj(1, wbits=31)
    offset = 0
    while True:
        await bring_in(descriptor, offset, PIECE_BYTES)
        data = os.read(descriptor, PIECE_BYTES)
        if not data:
            break
        offset += len(data)
        await response.write(compressor.compress(data))
        await asyncio.sleep(0)  # compressing is work: let others have their turn
    await response.write(compressor.flush())
    await response.finish()


async def _send_plain(request: Request, response: Response, descriptor: int, headers: dict[str, str]) -> None:
    status = os.fstat(descriptor)
    size, modified = status.st_size, int(status.st_mtime)
    headers |= {"Last-Modified": http_date(modified), "Accept-Ranges": "bytes"}
    code = failed_precondition(request.headers, modified)
    if code is not None:
        del headers["Content-Type"]
        await response.send(code, headers)
        return
    small: bytes | None = None
    if size <= SMALL_BYTES:
        # In one piece: cheaper than sendfile, and true of files whose size only the kernel's imagination has (/sys).
        await bring_in(descriptor, 0, max(size, 1))
        small = os.pread(descriptor, size, 0) if size else b""
        size = len(small)
    part = _wanted_part(request, size, modified)
    offset, length = part or (0, size)
    if part is not None and length == 0:
        headers = {"Content-Range": f"bytes */{size}", "Content-Type": "text/plain; charset=utf-8"}
        await response.send(416, headers, b"invalid range: failed to overlap\n")
        return
    if part is not None:
        headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{size}"
    response.start(200 if part is None else 206, headers, length=length)
    if small is not None:
        await response.write(small[offset : offset + length])
    elif request.method != "HEAD":
        await _send_by_kernel(response, descriptor, offset, length)
    await response.finish()


async def _send_by_kernel(response: Response, descriptor: int, offset: int, length: int) -> None:
    end = offset + length
    while offset < end:
        window = min(end - offset, WINDOW_BYTES)
        await bring_in(descriptor, offset, window)
        if os.fstat(descriptor).st_size < offset + window:
            return  # it became shorter: the body stays unfinished and the connection is cut
        await response.send_file(descriptor, offset, window)
        offset += window


def _wanted_part(request: Request, size: int, modified: int) -> tuple[int, int] | None:
    text = request.headers.get("range")
    if text is None:
        return None
    condition = request.headers.get("if-range")
    if condition is not None and parse_date(condition) != modified:
        return None
    return parse_range(text, size)
