"""Preparing the database of an installation: schema and accounts."""

from __future__ import annotations

from sandbank.api.settings import ApiSettings
from sandbank.api.wiring import database_url
from sandbank.cli.credentials import Credentials, CredentialsFile, SecretsFile
from sandbank.cli.settings import NodeSettings
from sandbank.db.database import Database
from sandbank.db.schema import upgrade
from sandbank.db.seed import seed_generated, seed_local_development


async def prepare_accounts(settings: NodeSettings) -> Credentials:
    """Bring the schema up to date, make the accounts exist, return the keys to use.

    An installation that was ever exposed keeps its generated keys: going back to loopback does not bring the well-known ones back.
    """
    database = Database(database_url(ApiSettings(data_dir=settings.data_dir)))
    try:
        await upgrade(database.engine)
        kept = CredentialsFile(settings.data_dir)
        credentials = kept.find()
        if credentials is None and settings.is_exposed:
            generated = await seed_generated(database.sessions)
            credentials = kept.keep(generated.api_key, generated.access_token, generated.team_id)
        elif credentials is None:
            await seed_local_development(database.sessions)
            credentials = SecretsFile(settings.data_dir).get()
        return credentials
    finally:
        await database.close()
