"""`sandbank secret rotate`, on the installation's own key file and on keys from a setting."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbank.api.adapters.secret_keys import FixedKeys, KeyFile, Keys, SecretSealer, key_id, new_key
from sandbank.api.adapters.secret_repo import SecretRepo
from sandbank.api.core.team import Team
from sandbank.api.core.team_secrets import SecretRules, Secrets
from sandbank.db.database import Database, sqlite_url
from sandbank.db.schema import upgrade
from sandbank.db.seed import seed_local_development
from sandbank.domain import development

US = Team(development.TEAM_ID, development.TEAM_SLUG, development.TEAM_NAME, 10, 1)


def rotate(data_dir: Path, keys: str = "") -> str:
    environment = {"PATH": os.environ["PATH"], "NO_COLOR": "1", "LANG": "C.UTF-8", "SANDBANK_SECRETS_KEY": keys}
    command = [sys.executable, "-m", "sandbank.cli.main", "secret", "rotate", "--data-dir", str(data_dir)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.rstrip("\n")


async def fill(data_dir: Path, keys: Keys, count: int) -> None:
    database = Database(sqlite_url(data_dir / "sandbank.db"))
    await upgrade(database.engine)
    await seed_local_development(database.sessions)
    secrets = Secrets(SecretRepo(database.sessions), SecretSealer(keys), SecretRules(True, 1000), lambda: datetime.now(UTC))
    for number in range(count):
        await secrets.create(US, f"n{number}", str(number), {})
    await database.close()


async def values(data_dir: Path, keys: Keys, count: int) -> list[str]:
    database = Database(sqlite_url(data_dir / "sandbank.db"))
    sealer = SecretSealer(keys)
    found = await SecretRepo(database.sessions).sealed(US.team_id, [f"n{number}" for number in range(count)])
    opened = {secret.name: sealer.open(sealed, secret.seal_context) for secret, sealed in found}
    await database.close()
    return [opened[f"n{number}"] for number in range(count)]


async def test_a_fresh_key_each_time_and_old_ones_go(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "secrets.key")
    await fill(tmp_path, file, 130)
    [first] = file.current()
    said = rotate(tmp_path)
    second = file.current()[0]
    assert said == f"130 secrets encrypted with a new key, {key_id(second)}. Back up {tmp_path}/secrets.key."
    assert file.current() == (second, first)
    rotate(tmp_path)
    assert len(file.current()) == 2
    assert first not in file.current()
    assert await values(tmp_path, KeyFile(tmp_path / "secrets.key"), 130) == [str(number) for number in range(130)]


@pytest.mark.parametrize("count", [0, 3])
async def test_keys_of_a_setting(tmp_path: Path, count: int) -> None:
    old, new = new_key(), new_key()
    await fill(tmp_path, FixedKeys(old), count)
    said = rotate(tmp_path, f"{new},{old}")
    assert said.startswith(f"{count} secrets encrypted with key ")
    assert said.endswith("of the other keys 1 are not needed any more.")
    assert await values(tmp_path, FixedKeys(new), count) == [str(number) for number in range(count)]
