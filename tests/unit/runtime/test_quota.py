"""What is decided about the sandboxes' disk before anything is mounted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sandbank.domain.errors import ExhaustedError, InvalidError
from sandbank.runtime.linux import btrfs
from sandbank.runtime.quota import volume
from sandbank.runtime.quota.volume import Volume


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "sandboxes").mkdir()
    return tmp_path / "sandboxes"


@pytest.mark.parametrize(("free_mib", "size_mib"), [(1000, 800), (100_000, 80_000), (8 << 20, 1 << 20)])
def test_the_default_is_most_of_what_is_free(directory: Path, monkeypatch: pytest.MonkeyPatch, free_mib: int, size_mib: int) -> None:
    _pretend_free(monkeypatch, free_mib)
    assert Volume(directory).plan_mib() == size_mib


def test_too_little_is_refused_with_what_to_do(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidError, match="at least 320"):
        Volume(directory, 319).plan_mib()
    _pretend_free(monkeypatch, 399)
    with pytest.raises(ExhaustedError, match="399 MiB free"):
        Volume(directory).plan_mib()


def test_what_is_in_the_way_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Volume(directory, 0).find_obstacle() == "SANDBANK_SANDBOX_DISK_MIB is 0"
    monkeypatch.setattr(volume, "_PROGRAMS", {"no-such-program": "its-package"})
    assert Volume(directory).find_obstacle() == "no-such-program is missing (package its-package)"


def test_a_sparse_image_tells_what_it_promised_and_others_took(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Volume(directory)
    assert disk.find_shortage_mib() == 0
    with disk.image.open("wb") as file:
        file.truncate(1000 << 20)
    _pretend_free(monkeypatch, 5000)
    assert disk.find_shortage_mib() == 0
    _pretend_free(monkeypatch, 700)
    assert disk.find_shortage_mib() == 300


def test_another_file_system_has_no_quotas(directory: Path) -> None:
    assert not btrfs.enforces_quotas(directory)
    assert not btrfs.enforces_quotas(Path("/proc"))
    assert not Volume(directory).is_ready


def _pretend_free(monkeypatch: pytest.MonkeyPatch, free_mib: int) -> None:
    usage = shutil.disk_usage("/")._replace(free=free_mib << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
