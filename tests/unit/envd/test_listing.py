"""Listings have an end (data-plane contract §3.5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbank.domain.errors import ExhaustedError
from sandbank.envd.filesystem import listing


async def test_more_entries_than_anybody_can_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(listing, "MAX_ENTRIES", 3)
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    assert [entry.name for entry in await listing.list_directory(str(tmp_path), 1)] == ["a", "b", "c"]
    (tmp_path / "d").touch()
    with pytest.raises(ExhaustedError, match="more than 3 entries"):
        await listing.list_directory(str(tmp_path), 1)
