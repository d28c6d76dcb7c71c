"""Header transforms by domain (REST contract §10.1 `rules`): what may be asked for. Secrets' values are none of the API's business here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sandbank.api.core.versions import version
from sandbank.domain.errors import InvalidError
from sandbank.domain.header_placeholders import SECRET, is_well_formed, named, references

MAX_DOMAINS = 10
MAX_DOMAIN_LENGTH = 128
MAX_HEADERS = 20
MAX_HEADER_NAME = 64
MAX_HEADER_VALUE = 2048
MAX_SECRETS = 32
_SINCE = (0, 5, 13)
_DOMAIN = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What a request's length and way depend on: changed, servers would see other requests than were sent. A rule is for one name.
_FRAMING = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")


def check_rules(sent: Mapping[str, Any], *, envd_version: str, enabled: bool) -> dict[str, dict[str, str]]:
    """Headers to set, by domain in lower case. `InvalidError` in the contract's words."""
    if not sent:
        return {}
    if not enabled:
        raise InvalidError("Network transform rules are not available for your team.")
    if version(envd_version) < _SINCE:
        raise InvalidError("Network transform rules need a newer template: rebuild it, and its envd will be 0.5.13 or newer.")
    if len(sent) > MAX_DOMAINS:
        raise InvalidError(f"Network rules can have at most {MAX_DOMAINS} domains.")
    checked: dict[str, dict[str, str]] = {}
    for domain, listed in sent.items():
        name = _check_domain(domain)
        if name in checked:
            raise InvalidError(f'Domain "{domain}" can have at most 1 transform rule.')
        checked[name] = _headers(domain, listed or ())
    return {domain: headers for domain, headers in checked.items() if headers}


def _check_domain(domain: str) -> str:
    if not domain:
        raise InvalidError("Rule domain must not be empty.")
    if len(domain) > MAX_DOMAIN_LENGTH:
        raise InvalidError(f'Rule domain "{domain}" exceeds maximum length of {MAX_DOMAIN_LENGTH} characters.')
    if _DOMAIN.fullmatch(domain.lower()) is None:
        raise InvalidError(f'Rule domain "{domain}" is not a valid domain name.')
    return domain.lower()


def _headers(domain: str, listed: Any) -> dict[str, str]:
    if len(listed) > 1:
        raise InvalidError(f'Domain "{domain}" can have at most 1 transform rule.')
    transform = (listed[0].get("transform") if listed else None) or {}
    headers: dict[str, str] = dict(transform.get("headers") or {})
    if len(headers) > MAX_HEADERS:
        raise InvalidError(f'Domain "{domain}" can have at most {MAX_HEADERS} headers per rule.')
    secrets: set[str] = set()
    for name, value in headers.items():
        _check_header(domain, name, value)
        secrets.update(named(references(value), SECRET))
    if len(secrets) > MAX_SECRETS:
        raise InvalidError(f'Rule domain "{domain}" references more than {MAX_SECRETS} secrets.')
    return headers


def _check_header(domain: str, name: str, value: str) -> None:
    if len(name) > MAX_HEADER_NAME:
        raise InvalidError(f'Header name "{name}" in rule for domain "{domain}" exceeds maximum length of {MAX_HEADER_NAME} characters.')
    if _TOKEN.fullmatch(name) is None:
        raise InvalidError(f'Header name "{name}" in rule for domain "{domain}" must contain only valid HTTP token characters.')
    if len(value) > MAX_HEADER_VALUE:
        raise InvalidError(
            f'Value for header "{name}" in rule for domain "{domain}" exceeds maximum length of {MAX_HEADER_VALUE} characters.'
        )
    if _VALUE.fullmatch(value) is None:
        raise InvalidError(f'Value for header "{name}" in rule for domain "{domain}" contains invalid characters.')
    if not is_well_formed(value):
        raise InvalidError("Network transform header contains a malformed E2B placeholder.")
    if name.lower() in _FRAMING:
        raise InvalidError(f'Header "{name}" in rule for domain "{domain}" belongs to the connection and cannot be set.')
