"""Builds are complete or absent, and damage is reported rather than run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sandbank.artifacts.builds import Build, BuildStore
from sandbank.domain.errors import InternalError, InvalidError


@pytest.fixture
def store(tmp_path: Path) -> BuildStore:
    store = BuildStore(tmp_path)
    for name in ("lower", "upper"):
        (store.layers_dir / name).mkdir(parents=True)
    return store


def make_build(store: BuildStore) -> Build:
    return Build(
        build_id="4c1a1c9e-4f2b-4a36-8d8f-9b1d6d6f8a11",
        template_id="base",
        layers=(store.layers_dir / "lower", store.layers_dir / "upper"),
        default_user="user",
        default_workdir="/srv",
        env_vars={"A": "ü"},
        envd_version="0.6.13",
        size_mib=12,
    )


def test_what_is_published_is_found(store: BuildStore) -> None:
    build = make_build(store)
    store.publish(build)
    assert store.find(build.build_id) == build
    assert store.list_ids() == [build.build_id]


def test_a_second_store_reads_the_same_from_disk(store: BuildStore, tmp_path: Path) -> None:
    build = make_build(store)
    store.publish(build)
    assert BuildStore(tmp_path).find(build.build_id) == build


def test_a_replaced_build_is_noticed(store: BuildStore) -> None:
    build = make_build(store)
    store.publish(build)
    store.find(build.build_id)
    newer = replace(build, env_vars={})
    store.publish(newer)
    assert store.find(build.build_id) == newer


@pytest.mark.parametrize("build_id", ["unknown", "", "../../etc/passwd", ".hidden", "a/b", "a\0b"])
def test_unknown_and_unfit_ids_are_not_found(store: BuildStore, build_id: str) -> None:
    assert store.find(build_id) is None


def test_a_missing_layer_cannot_be_published(store: BuildStore, tmp_path: Path) -> None:
    build = make_build(store)
    for layer in (store.layers_dir / "absent", tmp_path, Path("/etc")):
        with pytest.raises(InvalidError):
            store.publish(replace(build, layers=(layer,)))
    assert store.list_ids() == []


def test_nothing_is_left_beside_a_published_build(store: BuildStore) -> None:
    build = make_build(store)
    store.publish(build)
    assert [path.name for path in store.builds_dir.iterdir()] == [f"{build.build_id}.json"]


def test_damage_is_an_error_that_names_the_build(store: BuildStore) -> None:
    build = make_build(store)
    store.publish(build)
    (store.layers_dir / "upper").rmdir()
    with pytest.raises(InternalError, match=build.build_id):
        store.find(build.build_id)
    (store.builds_dir / f"{build.build_id}.json").write_text(json.dumps({"format_version": 99}))
    with pytest.raises(InternalError, match="99"):
        store.find(build.build_id)
