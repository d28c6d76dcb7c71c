"""What programs in a sandbox do with the web. All of it runs in children inside a namespace, and blocks."""

from __future__ import annotations

import errno
import json
import socket
import ssl
import time
from typing import Any

SECONDS = 3.0
BROKEN = "broken"


def get(address: str, host: str, path: str = "/") -> dict[str, Any] | str:
    """The answer of `origin.web`, or `BROKEN`."""
    return raw_http(address, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())[0]


def raw_http(address: str, *writes: bytes, port: int = 80) -> list[dict[str, Any] | str]:
    """Send each piece when the one before was answered; the answers, the last one `BROKEN` if the connection broke."""
    answers: list[dict[str, Any] | str] = []
    try:
        with socket.create_connection((address, port), timeout=SECONDS) as connection, connection.makefile("rb") as stream:
            for piece in writes:
                connection.sendall(piece)
                status = stream.readline()
                if not status:
                    answers.append(BROKEN)
                    break
                length = 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                if b" 101 " in status:
                    answers.append("switched")
                else:
                    body = stream.read(length)
                    answers.append(json.loads(body) if body else BROKEN)
    except OSError:
        answers.append(BROKEN)
    return answers


def tls(address: str, name: str | None, fragment: int = 0, port: int = 443) -> dict[str, Any] | str:
    """What `origin.secure` says, or `BROKEN`; `fragment`: so many bytes of the ClientHello at a time."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((address, port), timeout=SECONDS) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            connection = context.wrap_bio(incoming, outgoing, server_hostname=name)
            received = b""
            while not received.endswith(b"\n"):
                try:
                    received += connection.read(65536)
                except ssl.SSLWantReadError:
                    _flush(plain, outgoing.read(), fragment)
                    fragment = 0
                    data = plain.recv(65536)
                    if not data:
                        return BROKEN
                    incoming.write(data)
            answer: dict[str, Any] = json.loads(received)
            return answer
    except OSError:
        return BROKEN


def _flush(plain: socket.socket, data: bytes, fragment: int) -> None:
    for at in range(0, len(data), fragment or len(data) or 1):
        plain.sendall(data[at : at + (fragment or len(data))])
        if fragment:
            time.sleep(0.005)


def talk(address: str, port: int, data: bytes = b"") -> bytes | str:
    """Everything that comes back for `data` and our end of the stream, or how it broke."""
    try:
        with socket.create_connection((address, port), timeout=SECONDS) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while piece := connection.recv(65536):
                received += piece
            return received
    except TimeoutError:
        return "timeout"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        # A reset shows as itself, or at the next call as a connection or a pipe that is no more.
        return "reset" if error.errno in (errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE) else f"errno {error.errno}"


def seconds_to_fail(address: str, port: int) -> float:
    started = time.monotonic()
    try:
        with socket.create_connection((address, port), timeout=SECONDS) as connection:
            connection.settimeout(SECONDS)
            connection.recv(1)
    except OSError:
        pass
    return time.monotonic() - started
