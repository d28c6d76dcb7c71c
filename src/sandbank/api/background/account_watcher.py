"""Hears of accounts that another process changed: a second API, a `sandbank` command, a tool with SQL (REST contract §3.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from sandbank.domain.errors import SandbankError

_PERIOD_SECONDS = 0.5


class CachedAccounts(Protocol):
    """What may have become wrong."""

    async def forget_if_changed(self) -> None: ...


class AccountWatcher:
    """Looks twice a second; while the database is away, what is cached stays good for as long as caches last."""

    name = "account-watcher"

    def __init__(self, accounts: CachedAccounts, on_error: Callable[[str, BaseException], None]) -> None:
        self._accounts = accounts
        self._on_error = on_error
        self._is_failing = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_PERIOD_SECONDS)

    async def look(self) -> None:
        """Once; the first of several failures is reported, none is raised."""
        try:
            await self._accounts.forget_if_changed()
            self._is_failing = False
        except SandbankError as error:
            if not self._is_failing:
                self._on_error(self.name, error)
            self._is_failing = True
