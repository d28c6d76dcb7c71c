"""How somebody shows a registry who they are (contract templates-and-data §1.2.2)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """A name and a password or token."""

    username: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """The value of `Authorization`."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """A key with which Amazon's ECR gives out passwords for half a day."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str = ""


@dataclass(frozen=True, slots=True)
class GcpCredentials:
    """A service account's key, which Google's registries take as a password."""

    service_account_json: str = field(repr=False)

    @property
    def basic(self) -> BasicCredentials:
        """What is sent."""
        return BasicCredentials("_json_key", self.service_account_json)


RegistryCredentials = BasicCredentials | AwsCredentials | GcpCredentials
