"""Settings of templates; see docs/operations/closed-networks.md."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
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
