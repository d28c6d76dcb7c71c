"""What clients' unfinished messages may hold together."""

from __future__ import annotations

import pytest

from sandbank.domain.errors import ExhaustedError
from sandbank.envd.connect.received import SMALL_BYTES, Account

MIB = 1024 * 1024


def test_large_messages_share_one_limit_and_give_it_back() -> None:
    account = Account(10 * MIB)
    with account.share() as first:
        first.hold(6 * MIB)
        with account.share() as second, pytest.raises(ExhaustedError):
            second.hold(5 * MIB)
        first.hold(2 * MIB)
        with account.share() as second:
            second.hold(8 * MIB)
            assert account.held_bytes == 10 * MIB
    assert account.held_bytes == 0


def test_small_messages_pass_when_large_ones_hold_everything() -> None:
    account = Account(MIB)
    with account.share() as first, account.share() as second:
        first.hold(MIB)
        second.hold(SMALL_BYTES)
        with pytest.raises(ExhaustedError):
            second.hold(SMALL_BYTES + 1)
