"""Connections to other services by address."""

from __future__ import annotations

import errno
import os
import socket

from sandbank.domain.errors import InvalidError, UnavailableError


def connect_to(address: str, port: int) -> socket.socket:
    """A non-blocking socket that connects to an IP address, in brackets or not; `OSError` when it fails at once."""
    address = address.strip("[]")
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    code = sock.connect_ex((address, port))
    if code not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(code, os.strerror(code))
    return sock


def find_address(text: str) -> tuple[str, int]:
    """IP address and port of `host:port`, by name service if need be, which blocks. `InvalidError` or `UnavailableError` otherwise."""
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise InvalidError(f"{text!r} is no address: expected host:port")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnavailableError(f"{host} cannot be looked up: {error.strerror}") from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)  # `localhost` is both, and services listen on 127.0.0.1
    return str(found[0][4][0]), int(port)
