"""States that builds can go on from: a cache that is never wrong, only smaller."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sandbank.artifacts.layer_index import BuildContext, LayerEntry, LayerIndex
from sandbank.domain.errors import InvalidError

ENTRY = LayerEntry(("base", "step"), BuildContext("worker", "/srv", {"A": "b"}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ENTRY.layers:
        (tmp_path / "layers" / name).mkdir(parents=True)
    return tmp_path


def test_an_entry_is_its_teams(root: Path) -> None:
    index = LayerIndex(root)
    index.put("team", "hash", ENTRY)
    assert index.find("team", "hash") == ENTRY
    assert index.find("others", "hash") is None


def test_a_layer_that_is_gone_is_a_miss(root: Path) -> None:
    index = LayerIndex(root)
    index.put("team", "hash", ENTRY)
    (root / "layers" / "step").rmdir()
    assert index.find("team", "hash") is None
    (root / "layers" / "step").symlink_to(root / "nowhere")
    assert index.find("team", "hash") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"layers": ["base"]}', '{"layers": ["base"], "context": {"who": 1}}'])
def test_damage_is_a_miss(root: Path, content: str) -> None:
    index = LayerIndex(root)
    index.put("team", "hash", ENTRY)
    (root / "index" / "team" / "hash.json").write_text(content)
    assert index.find("team", "hash") is None


def test_what_is_used_stays_and_keeps_its_layers(root: Path) -> None:
    index = LayerIndex(root)
    index.put("team", "old", ENTRY)
    index.put("team", "used", LayerEntry(("base",), BuildContext()))
    for name in ("old", "used"):
        os.utime(root / "index" / "team" / f"{name}.json", (0, time.time() - 1000))
    assert index.find("team", "used") is not None
    assert index.keep(500) == {"base"}
    assert index.find("team", "old") is None


@pytest.mark.parametrize(("scope", "digest"), [("..", "x"), ("a/b", "x"), ("team", "../x"), ("", "x")])
def test_names_lead_nowhere_else(root: Path, scope: str, digest: str) -> None:
    with pytest.raises(InvalidError):
        LayerIndex(root).find(scope, digest)
