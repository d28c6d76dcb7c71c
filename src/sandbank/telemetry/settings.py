"""Where telemetry goes: environment variables that E2B's services and OpenTelemetry's own tools read, too."""

from __future__ import annotations

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class TelemetrySettings(BaseSettings):
    """Every field: its unit, and why one would change it."""

    model_config = SettingsConfigDict(env_prefix="SANDBANK_", extra="ignore", populate_by_name=True)

    otel_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices("OTEL_COLLECTOR_GRPC_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "otel_endpoint"),
        description="OTLP/gRPC address of an OpenTelemetry collector, `host:port` or `http(s)://host:port`; "
        "without it nothing is traced, counted or sent.",
    )
    otel_metrics_seconds: float = Field(default=15.0, gt=0, description="How often the services' own metrics are sent.")

    @field_validator("otel_endpoint", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def is_encrypted(self) -> bool:
        """Whether the collector is spoken to over TLS: only an `https` address says so."""
        return (self.otel_endpoint or "").startswith("https://")
