"""The API's settings: environment variables, or arguments of the same names in lower case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sandbank.db.database import sqlite_url
from sandbank.domain.development import TOKEN_SEED


class ApiSettings(BaseSettings):
    """Every field: its unit, and why one would change it."""

    model_config = SettingsConfigDict(env_prefix="SANDBANK_", extra="ignore", populate_by_name=True)

    bind: str = Field(
        default="127.0.0.1", description="Address to listen on; anything but loopback exposes the API and rules out the seeded credentials."
    )
    api_port: int = Field(
        default=3000, ge=0, le=65535, description="TCP port of the REST API; E2B's tools expect 3000 in local development."
    )
    data_dir: Path = Field(default=Path("/var/lib/sandbank"), description="Directory of the SQLite file, where no PostgreSQL is named.")
    postgres_connection_string: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("POSTGRES_CONNECTION_STRING", "postgres_connection_string"),
        description="Database URL, `postgresql://…`; without it accounts and templates live in an SQLite file.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        description="Redis that all API processes and client proxies share, `redis://[user:password@]host:port/database` or `host:port`;"
        " without it running sandboxes are remembered by one API process, which asks the nodes when it starts.",
    )
    admin_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("ADMIN_TOKEN", "admin_token"),
        description="What operators send as X-Admin-Token; without it nobody is one.",
    )
    sandbox_access_token_hash_seed: SecretStr = Field(
        default=SecretStr(TOKEN_SEED),
        validation_alias=AliasChoices("SANDBOX_ACCESS_TOKEN_HASH_SEED", "sandbox_access_token_hash_seed"),
        description="Secret that sandboxes' tokens derive from; changing it changes the tokens of sandboxes created from then on.",
    )
    allow_seeded_credentials: bool = Field(
        default=True,
        description="Whether the well-known credentials of local development work; false as soon as any service is not on loopback.",
    )
    internal_bind: str = Field(
        default="127.0.0.1",
        description="Address of the internal gRPC. It does not ask who calls: only networks where every host is trusted.",
    )
    internal_grpc_port: int | None = Field(
        default=5010,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("SANDBANK_INTERNAL_GRPC_PORT", "API_INTERNAL_GRPC_PORT", "internal_grpc_port"),
        description="TCP port where client proxies ask about sandboxes that they do not know, and nodes for secrets that their sandboxes'"
        " rules name; none without it.",
    )
    internal_socket: Path | None = Field(
        default=None, description="Unix socket for the same, for a node on this machine; in a directory that only root can enter."
    )
    oidc_issuer: str | None = Field(
        default=None, description="Issuer of the JWTs that users sign in with, exactly as their `iss` says; without it no JWT is accepted."
    )
    oidc_audience: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="What `aud` of a JWT must name, one of these, separated by commas; needed with an issuer."
    )
    oidc_jwks_url: str | None = Field(
        default=None, description="Where the issuer's keys are; without it what its `/.well-known/openid-configuration` says."
    )
    oidc_algorithms: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("RS256", "ES256"), description="Signature algorithms to accept, separated by commas; only those with public keys."
    )
    oidc_clock_skew_seconds: int = Field(
        default=30, ge=0, le=300, description="Seconds by which the issuer's clock may be ahead or behind."
    )
    access_token_provisioning: bool = Field(
        default=True, description="Whether `POST /access-tokens` makes tokens; E2B has given them up for API keys."
    )
    nodes: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1:5008",), description="Nodes' gRPC addresses, `host:port`, separated by commas."
    )
    template_manager_port: int = Field(
        default=5009, ge=1, le=65535, description="TCP port of the build service on those of the nodes that build templates."
    )
    upload_base_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("SANDBANK_UPLOAD_BASE_URL", "LOCAL_UPLOAD_BASE_URL", "upload_base_url"),
        description="Address at which clients reach this API with archives of files for templates, `http(s)://…`; by default the one that"
        " they ask for it at.",
    )
    default_templates: bool = Field(
        default=True,
        description="Whether an API of its own has `base` and the code interpreter built for everybody, as `sandbank up` does.",
    )
    base_vcpu: int = Field(default=2, ge=1, description="CPUs of a sandbox of the `base` template.")
    base_memory_mib: int = Field(default=1024, ge=128, description="MiB of memory of a sandbox of the `base` template.")
    base_disk_mib: int = Field(default=10_240, ge=512, description="MiB that a sandbox of the `base` template may write.")
    code_interpreter: Literal["minimal", "full", "off"] = Field(
        default="minimal",
        description="`code-interpreter-v1`, built in the background at the first start: `minimal` with Python, JavaScript, TypeScript and"
        " bash, `full` with R, Java and many more packages, or `off`.",
    )
    loki_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("LOKI_URL", "loki_url"),
        description="Loki that keeps sandboxes' logs, `http(s)://…`; without it ClickHouse does, if there is one.",
    )
    loki_user: str | None = Field(
        default=None, validation_alias=AliasChoices("LOKI_USER", "loki_user"), description="User for Loki's basic authentication."
    )
    loki_password: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("LOKI_PASSWORD", "loki_password"), description="Password of that user."
    )
    egress_proxies: bool = Field(default=True, description="Whether sandboxes' traffic may be sent through SOCKS5 proxies of their owners.")
    network_rules: bool = Field(
        default=True,
        description="Whether requests of sandboxes may be given headers on their way out, secrets among them (`network.rules`).",
    )
    rate_limits: str = Field(
        default="{}",
        description='How often each team may call a route, as JSON: `{"/sandboxes/{sandboxID}": {"rate": 10, "burst": 20, "period_s": 1}}`.'
        " A route counts all its methods; one that is not named has no limit.",
    )
    domain: str | None = Field(
        default=None,
        description="Domain, with port if need be, that clients build sandbox addresses from; without it they use their own setting.",
    )

    @property
    def database_url(self) -> str:
        """Where accounts and templates are."""
        if self.postgres_connection_string is not None:
            return self.postgres_connection_string.get_secret_value()
        return sqlite_url(self.data_dir / "sandbank.db")

    on_timeout: Literal["kill", "pause"] = Field(
        default="kill", description="What becomes of a sandbox at its end when its client did not say."
    )
    paused_retention_days: int = Field(
        default=0,
        ge=0,
        le=36500,
        description="Days after which a paused sandbox is killed that nobody resumed; 0 keeps them until somebody kills them.",
    )
    artifacts_url: str | None = Field(
        default=None,
        description="Object storage that all nodes share, as they are told; here it only matters that there is one: what a node has saved"
        " is then resumed, and removed, by others when it is away.",
    )
    volumes_enabled: bool = Field(default=True, description="Whether teams may have volumes.")
    volumes_shared: bool = Field(
        default=False,
        description="Whether all nodes mount the same file system at SANDBANK_VOLUMES_DIR; else a volume is on one node, and with it the"
        " sandboxes that mount it.",
    )
    volumes_per_team: int = Field(default=100, ge=0, description="How many volumes a team may have.")
    volume_token_key: Path | None = Field(
        default=None,
        description="PEM file with the P-256 key that signs volumes' tokens; by default one that is made in the data directory. Several API"
        " processes need the same.",
    )

    secrets_enabled: bool = Field(default=True, description="Whether teams may have secrets.")
    secrets_per_team: int = Field(default=1000, ge=0, description="How many secrets a team may have.")
    secrets_key: SecretStr | None = Field(
        default=None,
        description="Keys that encrypt secrets, 32 bytes in base64 each, separated by commas: the first for new values, the others to read"
        " old ones. By default one that is made in `secrets.key` in the data directory. Several API processes need the same.",
    )

    iam_tokens: bool = Field(default=True, description="Whether sandboxes may have workload tokens (`iam`), signed by this installation.")
    iam_key: Path | None = Field(
        default=None,
        description="PEM file with the P-256 key that signs workload tokens; by default one that is made in the data directory. Several API"
        " processes need the same.",
    )
    iam_issuer: str | None = Field(
        default=None,
        description="Address at which those who check workload tokens reach this API, their `iss`; by default `https://api.<domain>`.",
    )

    @field_validator("nodes", "oidc_audience", "oidc_algorithms", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator(
        "postgres_connection_string",
        "redis_url",
        "admin_token",
        "domain",
        "internal_grpc_port",
        "volume_token_key",
        "secrets_key",
        "iam_key",
        "iam_issuer",
        "internal_socket",
        "loki_url",
        "upload_base_url",
        "oidc_issuer",
        "oidc_jwks_url",
        mode="before",
    )
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value == "" else value
