"""What an operator can say to the Docker reverse proxy: environment variables, or fields in code."""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sandbank.db.database import sqlite_url


class DockerReverseProxySettings(BaseSettings):
    """One Docker reverse proxy. Without a registry behind it, it keeps images below `data_dir`."""

    model_config = SettingsConfigDict(env_prefix="SANDBANK_", extra="ignore", populate_by_name=True)

    bind: str = Field(default="127.0.0.1", description="Address of the port that Docker pushes to.")
    docker_reverse_proxy_port: int = Field(
        default=5000, ge=0, le=65535, description="TCP port that Docker pushes images of templates to, TLS and cleartext alike."
    )
    docker_reverse_proxy_url: str | None = Field(
        default=None,
        description="`http(s)://host[:port]` where Docker finds this port, if not at the address that it called: behind a proxy"
        " that ends TLS, for one. Docker gets its tokens there.",
    )
    docker_reverse_proxy_secret: SecretStr | None = Field(
        default=None,
        description="What tokens are signed with, the same for all replicas; without it a fresh one at each start, for one replica.",
    )
    docker_reverse_proxy_drain_seconds: float = Field(
        default=20.0, ge=0, description="Seconds that pushes under way get to finish at a stop."
    )
    docker_registry_url: str | None = Field(
        default=None,
        description="Registry that keeps the images, `http(s)://host[:port][/prefix]`; without it they are kept below `SANDBANK_DATA_DIR`.",
    )
    docker_registry_username: str = Field(default="", description="User for that registry; without it nobody logs in there.")
    docker_registry_password: SecretStr = Field(default=SecretStr(""), description="Password of that user.")
    docker_store_port: int = Field(
        default=5001, ge=1, le=65535, description="TCP port on loopback of the images that are kept here: builders pull from it."
    )
    docker_store_max_layer_mib: int = Field(default=20 * 1024, ge=1, description="MiB that one layer kept here may have, compressed.")
    docker_store_max_template_mib: int = Field(
        default=40 * 1024, ge=1, description="MiB that the images of one template kept here may have together, compressed."
    )
    docker_store_min_free_mib: int = Field(default=2048, ge=0, description="MiB of the disk that images kept here leave to others.")
    docker_store_keep_hours: float = Field(
        default=7 * 24.0, gt=0, description="Hours that an image is kept here after its push: what is built from it does not need it."
    )
    docker_store_abandoned_hours: float = Field(
        default=24.0, gt=0, description="Hours after which an upload that nobody goes on with, and a layer that no image has, are removed."
    )
    data_dir: Path = Field(
        default=Path("/var/lib/sandbank"), description="Directory of `registry/`, and of the SQLite file where no PostgreSQL is named."
    )
    postgres_connection_string: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("POSTGRES_CONNECTION_STRING", "postgres_connection_string"),
        description="Database URL, `postgresql://…`; without it accounts and templates live in an SQLite file.",
    )
    allow_seeded_credentials: bool = Field(
        default=True,
        description="Whether the well-known credentials of local development work; false as soon as any service is not on loopback.",
    )
    domain: str | None = Field(default=None, description="Domain, with port if need be, that the certificate is for.")
    certificate: Path | None = Field(default=None, description="PEM file with the certificate and its chain; a renewed one is taken.")
    certificate_key: Path | None = Field(default=None, description="PEM file with the certificate's key, unencrypted.")
    local_ca_dir: Path | None = Field(
        default=None, description="Directory of a CA made here for the domain, used where no certificate is given; with neither, no TLS."
    )

    @field_validator(
        "docker_reverse_proxy_url", "docker_registry_url", "domain", "certificate", "certificate_key", "local_ca_dir", mode="before"
    )
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def database_url(self) -> str:
        """Where accounts and templates are."""
        if self.postgres_connection_string is not None:
            return self.postgres_connection_string.get_secret_value()
        return sqlite_url(self.data_dir / "sandbank.db")
