"""Which distribution an image is, by its os-release (contract templates-and-data §1.10). Pure: text in, value out."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sandbank.domain.errors import InvalidError

Family = Literal["debian", "fedora", "arch", "alpine"]

_FAMILIES: dict[str, Family] = {
    "debian": "debian",
    "ubuntu": "debian",
    "fedora": "fedora",
    "centos": "fedora",
    "rocky": "fedora",
    "almalinux": "fedora",
    "arch": "arch",
    "archarm": "arch",
    "alpine": "alpine",
}

# Their packages need a subscription or repositories of their own, although ID_LIKE says `fedora`; NixOS is unlike all of them.
_REFUSED = frozenset({"rhel", "ol", "amzn", "nixos"})


@dataclass(frozen=True)
class Distribution:
    """What provisioning must know of an image."""

    id: str
    family: Family

    @property
    def admin_group(self) -> str:
        """The group whose members sudo lets be root."""
        return "sudo" if self.family == "debian" else "wheel"


def detect(os_release: str, warn: Callable[[str], None]) -> Distribution:
    """The distribution that `/etc/os-release` (or `/usr/lib/os-release`; empty text when the image has neither) describes.

    An unknown ID is taken for the first known one in ID_LIKE, and `warn` hears of it. `InvalidError` in E2B's words for what is not
    supported.
    """
    fields = _parse(os_release)
    distribution_id = fields.get("ID", "").lower()
    like = fields.get("ID_LIKE", "").lower()
    if distribution_id in _FAMILIES:
        return Distribution(distribution_id, _FAMILIES[distribution_id])
    if distribution_id not in _REFUSED:
        for candidate in like.split():
            if candidate in _FAMILIES:
                shown = _printable(distribution_id)
                warn(f"Unknown distribution '{shown}': treating it as {candidate}, which its os-release says it is like")
                return Distribution(shown or candidate, _FAMILIES[candidate])
    raise InvalidError(
        f"unsupported base image distribution: ID='{_printable(fields.get('ID', ''))}'"
        f"\nsupported distributions: {', '.join(sorted(_FAMILIES))}"
    )


def debian_suite(os_release: str) -> str | None:
    """The release of Debian, by its code name; `None` for what is not Debian itself."""
    fields = _parse(os_release)
    name = fields.get("VERSION_CODENAME", "")
    return name if fields.get("ID") == "debian" and name.isascii() and name.isalpha() else None


def _parse(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, value = line.strip().partition("=")
        if not separator or name.startswith("#"):
            continue
        try:
            words = shlex.split(value)
        except ValueError:
            continue  # an unfinished quotation: os-release(5) allows none
        fields[name] = words[0] if words else ""
    return fields


def _printable(text: str) -> str:
    return "".join(character for character in text[:64] if character.isprintable())
