"""Settings: the contract's names from the environment, ours in code."""

from __future__ import annotations

import pytest

from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import database_url


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "POSTGRES_CONNECTION_STRING": "postgresql://u:p@db/sandbank?sslmode=disable",
        "ADMIN_TOKEN": "",
        "SANDBOX_ACCESS_TOKEN_HASH_SEED": "seed",
        "SANDBANK_NODES": "a:1, b:2",
        "SANDBANK_API_PORT": "3100",
        "SANDBANK_ALLOW_SEEDED_CREDENTIALS": "false",
        "SANDBANK_DATA_DIR": "/data",
    }.items():
        monkeypatch.setenv(name, value)
    settings = ApiSettings()
    assert (settings.nodes, settings.api_port, settings.allow_seeded_credentials) == (("a:1", "b:2"), 3100, False)
    assert settings.admin_token is None
    assert settings.sandbox_access_token_hash_seed.get_secret_value() == "seed"
    assert "p@db" not in repr(settings)
    assert database_url(settings).startswith("postgresql://u:p@db")


def test_without_postgresql_it_is_a_file() -> None:
    assert database_url(ApiSettings()).endswith("/var/lib/sandbank/sandbank.db")


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in ApiSettings.model_fields.values())
