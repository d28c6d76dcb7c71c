"""Settings of templates; see docs/operations/closed-networks.md."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TemplateSettings(BaseSettings):
    """Where sandboxes of locally bootstrapped templates get packages from. Single settings win over `mirrors`."""

    model_config = SettingsConfigDict(env_prefix="SANDBANK_TEMPLATE_", env_ignore_empty=True, extra="ignore")

    mirrors: Literal["default", "node"] = Field(
        default="default",
        description="`node` gives templates the node's own package sources and additional certificates; `default` gives them nothing of it",
    )
    apt_mirror: str = Field(default="", description="URL of a Debian mirror for templates, laid out like http://deb.debian.org/debian")
    apt_security_mirror: str = Field(
        default="", description="URL of a mirror of Debian's security updates; without it, `apt_mirror` brings none of them"
    )
    pip_index_url: str = Field(default="", description="URL of the Python package index that pip uses in templates")
    npm_registry: str = Field(default="", description="URL of the registry that npm uses in templates")
    ca_bundle: Path | None = Field(
        default=None, description="PEM file on the node with certificates that templates trust in addition to the usual ones"
    )
    image_mirrors: str = Field(
        default="",
        description='Where images come from instead of their registry: JSON like {"debian:*": "registry:mirror.example/debian:*"},'
        " or the path of a file with it; merged over the map that the node has",
    )
    trusted_registries: str = Field(
        default="",
        description="Registries that may have private addresses, `host[:port]` with commas between;"
        " as `http://host[:port]`, without TLS as well. Every team may pull from them.",
    )
    image_limit_mb: int = Field(default=25_000, ge=1, description="What an image may have without compression, in MB")


class TemplateManagerSettings(BaseSettings):
    """The build service of a node."""

    model_config = SettingsConfigDict(env_prefix="SANDBANK_", env_ignore_empty=True, extra="ignore", populate_by_name=True)

    template_manager_bind: str = Field(
        default="127.0.0.1",
        description="Address of the build service's gRPC. It does not ask who calls: only networks where every host is trusted.",
    )
    template_manager_port: int = Field(
        default=5009, ge=0, le=65535, description="TCP port of the build service's gRPC; the API finds it on the orchestrator's as well."
    )
    concurrent_builds: int = Field(
        default=4, ge=1, description="Templates built on this node at the same time, one less of one team; others wait."
    )
    upload_limit_mib: int = Field(
        default=10_240, ge=1, description="What one archive of files for a COPY step may have, in MiB, compressed as clients send it."
    )
    upload_base_url: str = Field(
        default="",
        validation_alias=AliasChoices("SANDBANK_UPLOAD_BASE_URL", "LOCAL_UPLOAD_BASE_URL", "upload_base_url"),
        description="Where clients upload those archives, `http(s)://host:port`, if not through the API.",
    )
