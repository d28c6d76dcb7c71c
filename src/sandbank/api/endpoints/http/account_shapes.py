"""Keys and tokens as clients get them (REST contract §4.2, §16)."""

from __future__ import annotations

from typing import Any

from sandbank.api.core.access_keys import AccessToken, ApiKey
from sandbank.api.core.pagination import rfc3339
from sandbank.domain.credentials import Mask


def mask(value: Mask) -> dict[str, Any]:
    """`IdentifierMaskingDetails`."""
    return {
        "prefix": value.prefix,
        "valueLength": value.length,
        "maskedValuePrefix": value.first,
        "maskedValueSuffix": value.last,
    }


def api_key(key: ApiKey) -> dict[str, Any]:
    """`TeamAPIKey`: users have no address here, so `email` is always null."""
    return {
        "id": key.key_id,
        "name": key.name,
        "mask": mask(key.mask),
        "createdAt": rfc3339(key.created_at),
        "createdBy": None if key.created_by is None else {"id": key.created_by, "email": None},
        "lastUsed": None if key.last_used is None else rfc3339(key.last_used),
    }


def created_api_key(key: ApiKey, raw: str) -> dict[str, Any]:
    """`CreatedTeamAPIKey`: the only time that the key is told."""
    return api_key(key) | {"key": raw}


def created_access_token(token: AccessToken, raw: str) -> dict[str, Any]:
    """`CreatedAccessToken`: the only time that the token is told."""
    return {
        "id": token.token_id,
        "name": token.name,
        "token": raw,
        "mask": mask(token.mask),
        "createdAt": rfc3339(token.created_at),
    }
