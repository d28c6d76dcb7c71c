"""Layers appear whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbank.artifacts.layers import LayerStore


def test_a_layer_appears_when_it_is_complete(tmp_path: Path) -> None:
    store = LayerStore(tmp_path)
    with store.make("one") as directory:
        (directory / "file").write_text("content")
        assert store.find("one") is None
    found = store.find("one")
    assert found is not None
    assert (found / "file").read_text() == "content"
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_failed_layer_leaves_nothing(tmp_path: Path) -> None:
    store = LayerStore(tmp_path)

    def interrupted() -> None:
        with store.make("one") as directory:
            (directory / "file").write_text("content")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.find("one") is None
    assert list((tmp_path / "staging").iterdir()) == []


def test_what_a_killed_attempt_left_does_not_get_into_the_next(tmp_path: Path) -> None:
    (tmp_path / "staging" / "one" / "usr").mkdir(parents=True)
    store = LayerStore(tmp_path)
    with store.make("one") as directory:
        assert list(directory.iterdir()) == []


def test_the_size_counts_what_is_on_disk(tmp_path: Path) -> None:
    store = LayerStore(tmp_path)
    with store.make("one") as directory:
        (directory / "file").write_bytes(b"x" * (2**20 + 1))
    assert store.size_mib("one") == 2
