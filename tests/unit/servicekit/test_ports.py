from __future__ import annotations

import os
import socket

import pytest

from sandbank.domain.errors import UnavailableError
from sandbank.servicekit.ports import find_occupant, listen, require_free


def test_listening() -> None:
    with listen("127.0.0.1", 0, "the API") as listener:
        assert not listener.getblocking()
        with socket.create_connection(listener.getsockname()):
            pass


def test_a_taken_port_names_address_port_and_occupant() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError) as caught:
            listen("127.0.0.1", port, "the API")
        message = caught.value.message
        assert message.startswith(f"the API cannot listen on 127.0.0.1 port {port}: ")
        assert message.endswith(f" (pid {os.getpid()}) has it")
        assert "\n" not in message
    require_free("127.0.0.1", port, "the API")
    assert find_occupant(port) is None


def test_an_address_of_another_machine() -> None:
    with pytest.raises(UnavailableError, match=r"192\.0\.2\.1 port 3000: this machine does not have that address"):
        listen("192.0.2.1", 3000, "the API")
