"""Where sandboxes get packages from, and which certificates they trust: the settings, and the files that make them true. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sandbank.template_manager.core.apt_sources import AptSource, has_password

# update-ca-certificates' result, which curl, git, wget and apt read by themselves.
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Mirrors:
    """Empty everywhere: Debian, PyPI and npm as their tools have them. `certificates` are PEM texts to trust besides the usual ones."""

    apt_sources: tuple[AptSource, ...] = ()
    pip_index_url: str = ""
    pip_extra_index_urls: tuple[str, ...] = ()
    npm_registry: str = ""
    certificates: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether templates stay as they are."""
        return self == Mirrors()

    @property
    def digest(self) -> str:
        """Names these settings, so that a change of them makes another layer."""
        return hashlib.sha256(json.dumps(["1", asdict(self)], sort_keys=True).encode()).hexdigest()[:24]

    def files(self) -> dict[str, str]:
        """The configuration files that a template gets, by absolute path; certificates are installed separately."""
        files: dict[str, str] = {}
        if self.apt_sources:
            files["/etc/apt/sources.list"] = "".join(f"{source.line}\n" for source in self.apt_sources)
        if pip := self._pip_options():
            files["/etc/pip.conf"] = "[global]\n" + "".join(f"{key} = {value}\n" for key, value in pip.items())
        if npm := self._npm_options():
            files["/usr/local/etc/npmrc"] = "".join(f"{key}={value}\n" for key, value in npm.items())
        if variables := self.env_vars():
            # For logins, which start without our environment; sudo is told to keep these.
            files["/etc/environment"] = "".join(f"{key}={value}\n" for key, value in variables.items())
        return files

    def env_vars(self) -> dict[str, str]:
        """What programs that bring certificates of their own need to hear; nothing when there are none of ours."""
        if not self.certificates:
            return {}
        return dict.fromkeys(("NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), SYSTEM_BUNDLE)

    def _pip_options(self) -> dict[str, str]:
        options = {"index-url": self.pip_index_url, "extra-index-url": " ".join(self.pip_extra_index_urls)}
        if self.certificates:
            options["cert"] = SYSTEM_BUNDLE
        return {key: value for key, value in options.items() if value}

    def _npm_options(self) -> dict[str, str]:
        options = {"registry": self.npm_registry, "cafile": SYSTEM_BUNDLE if self.certificates else ""}
        return {key: value for key, value in options.items() if value}


def usable_in_sandboxes(urls: Iterable[str]) -> tuple[str, ...]:
    """Those of the node's `urls` that mean something in a sandbox and give no secret away: HTTP, and without a password."""
    return tuple(url for url in urls if url.startswith(("http://", "https://")) and not has_password(url))
