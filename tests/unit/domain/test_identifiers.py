"""Sandbox IDs as clients send them."""

from __future__ import annotations

import re

import pytest

from sandbank.domain.errors import InvalidError
from sandbank.domain.identifiers import new_sandbox_id, parse_sandbox_id


def test_new_ids_are_dns_labels() -> None:
    assert re.fullmatch(r"i[a-z0-9]{20}", new_sandbox_id())


def test_the_client_id_is_dropped() -> None:
    assert parse_sandbox_id("iabc-6532622b") == "iabc"


@pytest.mark.parametrize("text", ["", "-", "iABC", "i_a", "a-b-c", "../x", "i%20", "iabc\n"])
def test_refuses(text: str) -> None:
    with pytest.raises(InvalidError, match="Invalid sandbox ID"):
        parse_sandbox_id(text)
