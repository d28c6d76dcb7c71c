"""`sandbank secret`: the installation's keys that teams' secrets are encrypted with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from sandbank.cli.accounts_database import DataDir, with_database

if TYPE_CHECKING:
    from sandbank.api.adapters.secret_keys import SecretSealer
    from sandbank.db.database import Database

app = typer.Typer(name="secret", help="Keys that encrypt secrets.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keys that encrypt secrets."""


@app.command("rotate")
def rotate(data_dir: DataDir = None) -> None:
    """Encrypt all secrets' keys anew: with a fresh key, or with the first one of SANDBANK_SECRETS_KEY. Services may be running."""
    from sandbank.api.adapters.secret_keys import FixedKeys, KeyFile, SecretSealer, key_id, new_key, parse_keys
    from sandbank.api.settings import ApiSettings
    from sandbank.cli.console import say

    settings = ApiSettings() if data_dir is None else ApiSettings(data_dir=data_dir)
    if settings.secrets_key is not None:
        keys = FixedKeys(settings.secrets_key.get_secret_value())
        count, needed = with_database(data_dir, lambda database: _rewrap(database, SecretSealer(keys)))
        idle = sum(key_id(key) not in needed for key in keys.current()[1:])
        say(f"{count} secrets encrypted with key {key_id(keys.current()[0])}; of the other keys {idle} are not needed any more.")
        return
    file = KeyFile(settings.data_dir / "secrets.key")

    async def work(database: Database) -> tuple[int, frozenset[str]]:
        fresh, (before, *older) = parse_keys(new_key())[0], file.current()
        # First the key and then what needs it. The one before stays: a service may be about to seal with it.
        file.write([fresh, before, *older])
        count, needed = await _rewrap(database, SecretSealer(file))
        file.write([fresh, before, *(key for key in older if key_id(key) in needed)])
        return count, needed

    count, _ = with_database(data_dir, work)
    say(f"{count} secrets encrypted with a new key, {key_id(file.current()[0])}. Back up {settings.data_dir / 'secrets.key'}.")


async def _rewrap(database: Database, sealer: SecretSealer) -> tuple[int, frozenset[str]]:
    """How many were, and the keys that are still in use."""
    from sandbank.api.adapters.secret_repo import SecretRepo

    repo, count = SecretRepo(database.sessions), 0
    async for secret, sealed in repo.wrapped_otherwise(sealer.key_id):
        count += await repo.rewrap(secret, sealer.rewrap(sealed, secret.seal_context))
    return count, await repo.keys_in_use()
