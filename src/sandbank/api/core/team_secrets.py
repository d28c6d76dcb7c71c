"""Secrets: values that a team stores and never gets back, which sandboxes' requests carry out of the node (rest-api contract §20).

Messages are few and fixed: no input is ever repeated, so that no value ends up in a log or on a screen.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from sandbank.api.core.identity import IdentityMint
from sandbank.api.core.ports import Sandboxes
from sandbank.api.core.team import Team
from sandbank.domain import type_id
from sandbank.domain.errors import ConflictError, DeniedError, ExhaustedError, InvalidError, NotFoundError
from sandbank.domain.header_placeholders import IDENTITY, SECRET, named, references
from sandbank.domain.sandbox import Sandbox

PREFIX = "sec"
MAX_VALUE_BYTES = 64 * 1024
MAX_BODY_BYTES = 512 * 1024
_MAX_METADATA = 32
_MAX_KEY_BYTES, _MAX_TEXT_BYTES, _MAX_METADATA_BYTES = 128, 1024, 8192
_UPDATE_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Secret:
    """All of a secret but its value. `version` counts its values from 1."""

    key: uuid.UUID
    team_id: str
    name: str
    version: int
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime

    @property
    def secret_id(self) -> str:
        """As clients know it."""
        return type_id.encode(PREFIX, self.key)

    @property
    def seal_context(self) -> bytes:
        """What a sealed value is bound to: put into another row, or back where a newer one was, it does not open."""
        return f"{self.team_id}/{self.key}/{self.version}".encode()


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted value: the key it is encrypted with is itself encrypted, by the installation's key of that ID."""

    key_id: str
    wrapped_key: bytes
    value: bytes


class SecretRecords(Protocol):
    """Where they are kept."""

    async def add(self, secret: Secret, sealed: Sealed, most: int) -> bool:
        """False where the team has one of that name; `ExhaustedError` where it has `most`, however many are added at once."""

    async def page(self, team_id: str, after: uuid.UUID | None, limit: int) -> Sequence[Secret]:
        """The oldest of those made after `after`."""

    async def find(self, team_id: str, key: uuid.UUID) -> Secret | None: ...

    async def find_named(self, team_id: str, name: str) -> Secret | None: ...

    async def sealed(self, team_id: str, names: Sequence[str]) -> Sequence[tuple[Secret, Sealed]]:
        """Those that there are."""

    async def replace(self, secret: Secret, sealed: Sealed) -> bool:
        """Put this version in the place of the one before it; False if that is not there any more."""

    async def remove(self, team_id: str, key: uuid.UUID) -> bool:
        """False where there was none."""


class Sealer(Protocol):
    """Encrypts. `BackendError` when it cannot."""

    def seal(self, value: str, context: bytes) -> Sealed: ...

    def open(self, sealed: Sealed, context: bytes) -> str: ...


@dataclass(frozen=True, slots=True)
class SecretRules:
    """What the operator allows."""

    enabled: bool
    most_per_team: int


class Secrets:
    """A team's secrets. What belongs to others does not exist."""

    def __init__(self, records: SecretRecords, sealer: Sealer, rules: SecretRules, now: Callable[[], datetime]) -> None:
        self._records = records
        self._sealer = sealer
        self._rules = rules
        self._now = now

    async def create(self, team: Team, name: str, value: str, metadata: Mapping[str, str]) -> Secret:
        """A new one; capitals in names do not count. `ConflictError` for a name that is taken, `ExhaustedError` at the limit."""
        self._require_enabled()
        name = name.lower()
        if name.startswith(f"{PREFIX}_"):
            raise _invalid()
        _check(value, metadata)
        at = self._now()
        secret = Secret(type_id.new_uuid7(), team.team_id, name, 1, metadata, at, at)
        sealed = self._sealer.seal(value, secret.seal_context)
        if not await self._records.add(secret, sealed, self._rules.most_per_team):
            raise ConflictError("Secret exists")
        return secret

    async def update(self, team: Team, reference: str, value: str, metadata: Mapping[str, str] | None) -> Secret:
        """A new value, and new metadata unless that is None. The value before it is gone when this returns."""
        self._require_enabled()
        _check(value, metadata or {})
        for _ in range(_UPDATE_ATTEMPTS):
            before = await self._find(team, reference)
            kept = before.metadata if metadata is None else metadata
            secret = replace(before, version=before.version + 1, metadata=kept, updated_at=max(self._now(), before.created_at))
            if await self._records.replace(secret, self._sealer.seal(value, secret.seal_context)):
                return secret
        raise ConflictError("Secret keeps changing")

    async def get(self, team: Team, reference: str) -> Secret:
        """By ID or name."""
        self._require_enabled()
        return await self._find(team, reference)

    async def page(self, team: Team, limit: int, token: str | None) -> tuple[Sequence[Secret], str | None]:
        """Oldest first, at most `limit`, with the token for what follows, if anything does."""
        self._require_enabled()
        after = None
        if token is not None and (after := type_id.decode(PREFIX, token)) is None:
            raise _invalid()
        found = await self._records.page(team.team_id, after, limit + 1)
        return found[:limit], found[limit - 1].secret_id if len(found) > limit else None

    async def delete(self, team: Team, reference: str) -> None:
        """Gone when it returns; requests of sandboxes that want it fail a few seconds later."""
        self._require_enabled()
        secret = await self._find(team, reference)
        if not await self._records.remove(team.team_id, secret.key):
            raise _not_found()

    async def _find(self, team: Team, reference: str) -> Secret:
        if reference.startswith(f"{PREFIX}_"):
            key = type_id.decode(PREFIX, reference)
            found = None if key is None else await self._records.find(team.team_id, key)
        else:
            found = await self._records.find_named(team.team_id, reference.lower())
        if found is None:
            raise _not_found()
        return found

    def _require_enabled(self) -> None:
        if not self._rules.enabled:
            raise DeniedError("Secrets are not available for this team")


class SecretReader:
    """Hands values to the node that runs a sandbox: those that the sandbox's own rules refer to, and no others."""

    def __init__(self, records: SecretRecords, sealer: Sealer, sandboxes: Sandboxes, identity: IdentityMint) -> None:
        self._records = records
        self._sealer = sealer
        self._sandboxes = sandboxes
        self._identity = identity

    async def values(self, sandbox_id: str, execution_id: str, wanted: Sequence[str]) -> dict[str, str]:
        """By reference as asked: secrets, and workload tokens that the sandbox was created with. What there is not is missing.

        `NotFoundError` unless exactly this run of the sandbox is known, `DeniedError` for what its rules do not refer to.
        """
        sandbox = await self._sandboxes.find(sandbox_id)
        if sandbox is None or sandbox.execution_id != execution_id:
            raise NotFoundError("sandbox not found")
        if not set(wanted) <= _referred_to_by(sandbox):
            raise DeniedError("the sandbox's rules do not refer to this")
        return await self._secrets(sandbox, named(wanted, SECRET)) | self._tokens(sandbox, named(wanted, IDENTITY))

    async def _secrets(self, sandbox: Sandbox, names: Sequence[str]) -> dict[str, str]:
        if not names:
            return {}
        records = await self._records.sealed(sandbox.team_id, sorted({name.lower() for name in names}))
        found = {secret.name: self._sealer.open(sealed, secret.seal_context) for secret, sealed in records}
        return {SECRET + name: found[name.lower()] for name in names if name.lower() in found}

    def _tokens(self, sandbox: Sandbox, names: Sequence[str]) -> dict[str, str]:
        audiences = sandbox.iam_tokens
        return {IDENTITY + name: self._identity.issue(sandbox, audiences[name]) for name in names if name in audiences}


def _referred_to_by(sandbox: Sandbox) -> set[str]:
    rules = (sandbox.network or {}).get("rules") or {}
    transforms = [(rule.get("transform") or {}).get("headers") or {} for listed in rules.values() for rule in listed or ()]
    return {reference for headers in transforms for value in headers.values() for reference in references(value)}


def too_many() -> ExhaustedError:
    """What a team hears that has all it may."""
    return ExhaustedError("The limit of secrets is reached", error_code="secret_limit_reached", should_retry=False)


def _check(value: str, metadata: Mapping[str, str]) -> None:
    sizes = [(len(key.encode()), len(text.encode())) for key, text in metadata.items()]
    fits = (
        0 < len(value.encode()) <= MAX_VALUE_BYTES
        and len(sizes) <= _MAX_METADATA
        and all(key <= _MAX_KEY_BYTES and text <= _MAX_TEXT_BYTES for key, text in sizes)
        and sum(key + text for key, text in sizes) <= _MAX_METADATA_BYTES
    )
    if not fits:
        raise _invalid()


def _invalid() -> InvalidError:
    return InvalidError("Invalid secrets request")


def _not_found() -> NotFoundError:
    return NotFoundError("Secret not found")
