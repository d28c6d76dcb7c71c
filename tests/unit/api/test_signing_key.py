"""The installation's own signing key (rest-api contract §18.2)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbank.api.adapters.signing_key import SigningKey, load_or_make_key


def test_a_death_while_it_is_written_leaves_no_half_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key.pem"

    def die(_descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", die)
        with pytest.raises(KeyboardInterrupt):
            load_or_make_key(path)
    assert not path.exists()
    key = SigningKey(path).key_id
    assert key == SigningKey(path).key_id
    assert path.stat().st_mode & 0o777 == 0o600


def test_all_that_make_one_at_once_have_the_same(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / f"{number}.pem"
        with ThreadPoolExecutor(8) as threads:
            assert len(set(threads.map(lambda _, path=path: SigningKey(path).key_id, range(8)))) == 1
    assert len(list(tmp_path.iterdir())) == 10
