"""Which ClickHouse a service uses."""

from __future__ import annotations

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sandbank.clickhouse.client import ClickHouse


class ClickHouseSettings(BaseSettings):
    """Every field: its unit, and why one would change it."""

    model_config = SettingsConfigDict(env_prefix="SANDBANK_", extra="ignore", populate_by_name=True)

    clickhouse_connection_string: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("CLICKHOUSE_CONNECTION_STRING", "clickhouse_connection_string"),
        description="Where metrics, events and logs of sandboxes are kept: `http(s)://user:password@host:8123/database`, E2B's"
        " `clickhouse://…:9000/…` (spoken to over HTTP), or `chdb:///path`, the embedded engine. `sandbank up` takes the latter by default;"
        " set to nothing, none of it is kept.",
    )
    clickhouse_cluster: str | None = Field(
        default=None,
        validation_alias=AliasChoices("CLICKHOUSE_CLUSTER", "clickhouse_cluster"),
        description="Name of a ClickHouse cluster to make the tables on, `Distributed` over its nodes; without it they are on one server.",
    )

    @field_validator("clickhouse_cluster", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    def connect(self, default: str | None = None) -> ClickHouse | None:
        """The client that these settings mean, `default`'s where they say nothing, or none; nothing is opened yet."""
        given = self.clickhouse_connection_string
        text = (default or "") if given is None else given.get_secret_value()
        return ClickHouse.connect(text) if text else None
