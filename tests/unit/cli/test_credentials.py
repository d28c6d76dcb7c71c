"""Which keys an installation uses, and who can read them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sandbank.cli.accounts import prepare_accounts
from sandbank.cli.credentials import CredentialsFile, SecretsFile
from sandbank.cli.embedded import api_settings
from sandbank.cli.greeting import Greeting
from sandbank.cli.handover import Handover
from sandbank.cli.report import ready_text
from sandbank.cli.settings import NodeSettings
from sandbank.domain import development
from sandbank.domain.errors import InternalError

GREETING = Greeting("Hello!", 8.2, 20.1)


@pytest.fixture(autouse=True)
def _no_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADMIN_TOKEN", "EDGE_SECRET", "SANDBOX_ACCESS_TOKEN_HASH_SEED", "POSTGRES_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)


async def test_on_loopback_the_well_known_keys_work_and_the_secrets_are_ones_own(tmp_path: Path) -> None:
    settings = NodeSettings(data_dir=tmp_path, bind="127.0.0.1")
    first = await prepare_accounts(settings)
    assert (first.api_key, first.token_hash_seed) == (development.API_KEY, development.TOKEN_SEED)
    assert first == await prepare_accounts(settings)
    assert len(first.admin_token) > 20
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert CredentialsFile(tmp_path).find() is None


async def test_an_exposed_installation_has_generated_keys_and_keeps_them(tmp_path: Path) -> None:
    await prepare_accounts(NodeSettings(data_dir=tmp_path, bind="127.0.0.1"))
    exposed = NodeSettings(data_dir=tmp_path, bind="0.0.0.0")
    first = await prepare_accounts(exposed)
    assert development.API_KEY not in vars(first).values()
    assert development.TOKEN_SEED not in vars(first).values()
    assert len({first.admin_token, first.edge_secret, first.token_hash_seed}) == 3
    assert CredentialsFile(tmp_path).path.stat().st_mode & 0o777 == 0o600
    assert await prepare_accounts(exposed) == first
    back = await prepare_accounts(NodeSettings(data_dir=tmp_path, bind="127.0.0.1"))
    assert back == first


async def test_the_api_of_an_exposed_installation_refuses_the_well_known_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = NodeSettings(data_dir=tmp_path, bind="127.0.0.1", orchestrator_bind="0.0.0.0")
    credentials = await prepare_accounts(settings)
    api = api_settings(settings, credentials)
    assert not api.allow_seeded_credentials
    assert api.sandbox_access_token_hash_seed.get_secret_value() == credentials.token_hash_seed
    monkeypatch.setenv("ADMIN_TOKEN", "the operator's own")
    admin_token = api_settings(settings, credentials).admin_token
    assert admin_token is not None
    assert admin_token.get_secret_value() == "the operator's own"


def test_damaged_credentials_are_an_error_and_never_replaced(tmp_path: Path) -> None:
    file = CredentialsFile(tmp_path)
    file.path.write_text("{")
    with pytest.raises(InternalError, match="damaged"):
        file.find()
    assert file.path.read_text() == "{"


def test_secrets_do_not_show_in_representations(tmp_path: Path) -> None:
    credentials = SecretsFile(tmp_path).get()
    for secret in (credentials.admin_token, credentials.edge_secret, credentials.api_key):
        assert secret not in repr(credentials)


def test_generated_keys_are_shown_once(tmp_path: Path) -> None:
    settings = NodeSettings(data_dir=tmp_path, bind="0.0.0.0")
    credentials = CredentialsFile(tmp_path).keep("e2b_00", "sk_e2b_00", "team")
    assert "export E2B_API_KEY=e2b_00\n" in ready_text(settings, credentials, GREETING, show_keys=True)
    later = ready_text(settings, credentials, GREETING, show_keys=False)
    assert "e2b_00" not in later
    assert str(tmp_path / "credentials.json") in later


def test_what_is_printed_can_be_pasted(tmp_path: Path) -> None:
    settings = NodeSettings(data_dir=tmp_path, bind="127.0.0.1", api_port=3000, client_proxy_port=3002)
    text = ready_text(settings, SecretsFile(tmp_path).get(), GREETING, show_keys=True)
    for line in (
        f"export E2B_API_KEY={development.API_KEY}",
        "export E2B_API_URL=http://localhost:3000",
        "export E2B_SANDBOX_URL=http://localhost:3002",
    ):
        assert line in text.splitlines()
    assert "8 ms" in text


@pytest.mark.parametrize("error", ["", "port 3000 is taken"])
def test_a_handover_arrives_as_it_was_sent(tmp_path: Path, error: str) -> None:
    sent = Handover(error=error, credentials=None if error else SecretsFile(tmp_path).get())
    reading, writing = os.pipe()
    sent.write(writing)
    assert Handover.read(reading) == sent


def test_a_service_that_died_hands_nothing_over() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    assert Handover.read(reading) is None


def test_credentials_survive_on_disk(tmp_path: Path) -> None:
    kept = CredentialsFile(tmp_path).keep("a", "b", "c")
    assert CredentialsFile(tmp_path).find() == kept
    assert json.loads(CredentialsFile(tmp_path).path.read_text())["api_key"] == "a"
