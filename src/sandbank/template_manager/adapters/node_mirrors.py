"""The node's own package settings: what apt, pip and npm use here, and which certificates this machine trusts in addition."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from sandbank.template_manager.core.apt_sources import AptSource, debian_sources, has_password, parse_sources
from sandbank.template_manager.core.certificates import split_pem, without
from sandbank.template_manager.core.mirrors import SYSTEM_BUNDLE, Mirrors, usable_in_sandboxes

_PACKAGED_CERTIFICATES = Path("/usr/share/ca-certificates")
_BUNDLES = (SYSTEM_BUNDLE, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
_BUNDLE_VARIABLES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")
_NPM_FILES = ("/usr/etc/npmrc", "/usr/local/etc/npmrc", "/etc/npmrc", "~/.npmrc")


def node_apt_sources(suite: str, etc: Path = Path("/etc/apt")) -> tuple[AptSource, ...]:
    """The node's sources of Debian, asked for `suite`; empty on a node that is not fed by Debian."""
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list")), *sorted((etc / "sources.list.d").glob("*.sources"))]
    sources: list[AptSource] = []
    for file in files:
        if file.is_file():
            sources += parse_sources(file.name, file.read_text(errors="replace"))
    return debian_sources(sources, suite)


def node_mirrors(suite: str) -> Mirrors:
    """All of it, as far as it means something in a sandbox: no `file:` URLs, and nothing that carries a password."""
    pip = dict(_pip_settings())
    return Mirrors(
        apt_sources=tuple(source for source in node_apt_sources(suite) if not has_password(source.uri)),
        pip_index_url="".join(usable_in_sandboxes([pip.get("index-url", "")])),
        pip_extra_index_urls=usable_in_sandboxes(pip.get("extra-index-url", "").split()),
        npm_registry="".join(usable_in_sandboxes([_npm_registry()])),
        certificates=node_certificates(),
    )


def node_certificates() -> tuple[str, ...]:
    """What this machine trusts beyond what its distribution ships: an inspecting proxy's authority, a company's own."""
    paths = dict.fromkeys([*_BUNDLES, *(os.environ.get(name, "") for name in _BUNDLE_VARIABLES)])
    trusted = read_certificates(Path(path) for path in paths if path)
    return without(trusted, read_certificates(_PACKAGED_CERTIFICATES.rglob("*.crt")))


def read_certificates(paths: Iterable[Path]) -> list[str]:
    """The certificates in those of the files that exist."""
    return split_pem("\n".join(path.read_text(errors="replace") for path in paths if path.is_file()))


def _pip_settings() -> Iterator[tuple[str, str]]:
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    # Printed from the weakest to the strongest: global, user, site, :env:
    for line in done.stdout.splitlines():
        match = re.fullmatch(r"(?:global|user|site|install|:env:)\.(index-url|extra-index-url)='(.*)'", line.strip().replace("\\n", " "))
        if match:
            yield match[1], match[2]


def _npm_registry() -> str:
    registry = ""
    for name in _NPM_FILES:
        path = Path(name).expanduser()
        if path.is_file():
            for line in path.read_text(errors="replace").splitlines():
                key, _, value = line.partition("=")
                if key.strip() == "registry":
                    registry = value.strip().strip('"')
    # npm reads its variables in any case; lower case is what it documents.
    variables = {name.lower(): value for name, value in os.environ.items()}
    return variables.get("npm_config_registry") or registry
