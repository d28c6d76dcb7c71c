"""`GET /files` (data-plane contract §4.4)."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import zlib
from urllib.parse import quote

from sandbank.domain.errors import InternalError, InvalidError, NotFoundError
from sandbank.envd.files import media_type
from sandbank.envd.files.negotiation import choose_encoding, parse_date, parse_range
from sandbank.envd.files.request_target import requested_account
from sandbank.envd.files.signature import authorise
from sandbank.envd.paths import base_name
from sandbank.envd.state import AgentState
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response, http_date

PIECE_BYTES = 256 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9!#$&+\-.^_`|~{}*'%]+")


def _disposition(name: str) -> str:
    """`name` as a header parameter: bare, quoted, or percent-encoded when it is not ASCII (RFC 2231)."""
    if _TOKEN.fullmatch(name) and not set(name) & set("*'%"):
        return f"inline; filename={name}"
    if name.isascii() and name.isprintable():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'inline; filename="{escaped}"'
    return f"inline; filename*=utf-8''{quote(os.fsencode(name), safe='')}"


def _open(path: str) -> int:
    """The file, opened without waiting for a writer of a pipe; `NotFoundError`, `InvalidError` and `InternalError` as clients know them."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            raise InvalidError(f"path '{path}' is a directory")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"path '{path}' does not exist") from error
    except OSError as error:
        raise InternalError(f"error opening file '{path}': {error.strerror}") from error


class Download:
    """The handler; memory per download is a piece and what the peer has not taken yet."""

    def __init__(self, state: AgentState) -> None:
        self._state = state

    async def __call__(self, request: Request, response: Response) -> None:
        """Send the file whole, in part, compressed, or not at all when the client has it."""
        authorise(request, "read", self._state.access_token)
        path = self._state.resolve(request.query.get("path", ""), requested_account(self._state, request))
        descriptor = _open(path)
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
            status = os.fstat(descriptor)
            if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
                raise InternalError(f"path '{path}' cannot be read by position")
            headers["Content-Type"] = kind or media_type.by_content(os.pread(descriptor, media_type.SNIFF_BYTES, 0))
            await _send_plain(request, response, descriptor, status, headers)


async def _send_compressed(response: Response, descriptor: int) -> None:
    compressor = zlib.compressobj(1, wbits=31)
    while data := os.read(descriptor, PIECE_BYTES):
        await response.write(compressor.compress(data))
        await asyncio.sleep(0)  # compressing is work: let others have their turn
    await response.write(compressor.flush())
    await response.finish()


async def _send_plain(request: Request, response: Response, descriptor: int, status: os.stat_result, headers: dict[str, str]) -> None:
    modified = int(status.st_mtime)
    headers |= {"Last-Modified": http_date(modified), "Accept-Ranges": "bytes"}
    since = parse_date(request.headers.get("if-modified-since", ""))
    if since is not None and "if-none-match" not in request.headers and modified <= since:
        del headers["Content-Type"]
        await response.send(304, headers)
        return
    offset, length, code = 0, status.st_size, 200
    part = _wanted_part(request, status.st_size, modified)
    if part is not None:
        offset, length = part
        if length == 0:
            await response.send(416, {"Content-Range": f"bytes */{status.st_size}", "Content-Type": "text/plain; charset=utf-8"})
            return
        code = 206
        headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{status.st_size}"
    response.start(code, headers, length=length)
    if request.method != "HEAD":
        await response.send_file(descriptor, offset, length)
    await response.finish()


def _wanted_part(request: Request, size: int, modified: int) -> tuple[int, int] | None:
    text = request.headers.get("range")
    if text is None:
        return None
    condition = request.headers.get("if-range")
    if condition is not None and parse_date(condition) != modified:
        return None
    return parse_range(text, size)
