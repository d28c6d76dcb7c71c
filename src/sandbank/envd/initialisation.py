"""`POST /init`: what the control plane tells the agent at each start and resume (data-plane contract §4.8).

`timestamp` orders bodies and sets no clock: a sandbox shares the node's, which nothing inside can set. Network volumes would need mount
rights that a sandbox has not: `volumeMounts` is refused.
"""

from __future__ import annotations

import calendar
import json
import re
from dataclasses import dataclass
from typing import Any

from sandbank.domain.errors import InvalidError
from sandbank.envd import certificates, text_file
from sandbank.envd.authentication import same_token
from sandbank.envd.state import AgentState
from sandbank.envd.transport.request import Request
from sandbank.envd.transport.response import Response
from sandbank.version import ENVD_VERSION

MAX_BODY_BYTES = 4 * 1024 * 1024
EVENTS_HOST = "events.e2b.local"
_TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]+")
_TEXT_FIELDS = ("accessToken", "timestamp", "defaultUser", "defaultWorkdir", "hyperloopIP", "lifecycleID", "caBundle")
# Sandbank's own: who an agent is from now on that was brought back from another's snapshot, and variables beside those it has.
_IDENTITY_FIELDS = ("sandboxID", "templateID")


def parse_timestamp(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise InvalidError(f"invalid timestamp: {text}")
    *parts, fraction, zone = match.groups()
    try:
        seconds = calendar.timegm(tuple(int(part) for part in parts))
    except ValueError as error:  # no such month
        raise InvalidError(f"invalid timestamp: {text}") from error
    if zone not in "Zz":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        seconds += -offset if zone[0] == "+" else offset
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


@dataclass(frozen=True)
class InitData:
    """A decoded body; None for what was absent."""

    values: dict[str, str]
    environment: dict[str, str] | None
    added: dict[str, str]

    @classmethod
    def decode(cls, body: bytes) -> InitData:
        """`InvalidError` for anything that is no such object."""
        try:
            raw: Any = json.loads(body) if body.strip() else {}
            json.dumps(raw, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError) as error:
            raise InvalidError(f"failed to decode request: {error}") from error
        if not isinstance(raw, dict):
            raise InvalidError("failed to decode request: not an object")
        values = {name: raw[name] for name in (*_TEXT_FIELDS, *_IDENTITY_FIELDS) if raw.get(name) is not None}
        if not all(isinstance(value, str) for value in values.values()):
            raise InvalidError("failed to decode request: a field has the wrong type")
        if values.get("accessToken") == "":
            raise InvalidError("failed to decode request: empty access token")
        environment, added = raw.get("envVars"), raw.get("addEnvVars") or {}
        if (environment is not None and not _is_environment(environment)) or not _is_environment(added):
            raise InvalidError("failed to decode request: envVars must map names to texts")
        if raw.get("volumeMounts"):
            raise InvalidError("volume mounts are not available in this sandbox")
        if (address := values.get("hyperloopIP")) and not _ADDRESS.fullmatch(address):
            raise InvalidError("failed to decode request: hyperloopIP is no address")
        return cls(values, environment, added)


def _is_environment(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(text, str) and name and "=" not in name and "\0" not in name + text for name, text in value.items()
    )


class Initialisation:
    """The handler; one body is applied at a time because applying never waits."""

    def __init__(self, state: AgentState) -> None:
        self._state = state

    async def __call__(self, request: Request, response: Response) -> None:
        """204 when applied, or when a newer body was applied before; 401 as text; 400 for a body that makes no sense."""
        response.headers["X-Envd-Version"] = ENVD_VERSION
        try:
            data = InitData.decode(await request.body.read_all(MAX_BODY_BYTES))
            timestamp = parse_timestamp(data.values["timestamp"]) if "timestamp" in data.values else None
        except InvalidError as error:
            await response.send_error(400, error.message)
            return
        token = data.values.get("accessToken")
        if not self._is_allowed(request, token):
            text = "access token validation failed" if token else "access token reset not authorized"
            await response.send(401, {"Content-Type": "text/plain; charset=utf-8"}, text.encode())
            return
        if timestamp is None or timestamp > self._state.initialised_at_ns:
            try:
                self._apply(data)
            except OSError as error:  # not remembered as applied: the same body may come again
                await response.send_error(500, f"error initializing: {error.filename}: {error.strerror}")
                return
            self._state.initialised_at_ns = timestamp or self._state.initialised_at_ns
        self._state.is_initialised = True
        await response.send(204, {"Cache-Control": "no-store"})

    def _is_allowed(self, request: Request, token: str | None) -> bool:
        """First-time set-up is open; later, whoever knows the current token may repeat, replace or clear it.

        The reference learns a replacement's hash from its metadata service; here the node sends the old token as `X-Access-Token`.
        """
        current = self._state.access_token
        if current is None or (token is not None and same_token(token, current)):
            return True
        return same_token(request.headers.get("x-access-token", ""), current)

    def _apply(self, data: InitData) -> None:
        state, values = self._state, data.values
        state.access_token = values.get("accessToken")
        if data.environment is not None:
            state.set_user_environment(data.environment)
        if data.added:
            state.set_user_environment({**state.user_environment, **data.added})
        if values.keys() & set(_IDENTITY_FIELDS):
            state.sandbox_id, state.template_id = values.get("sandboxID", state.sandbox_id), values.get("templateID", state.template_id)
            state.publish_identity()
        state.default_user = values.get("defaultUser") or state.default_user
        state.default_workdir = values.get("defaultWorkdir") or state.default_workdir
        state.lifecycle_id = values.get("lifecycleID") or state.lifecycle_id
        if address := values.get("hyperloopIP"):
            _name_events_host(address)
            state.internal_environment["E2B_EVENTS_ADDRESS"] = f"http://{address}"
        if bundle := values.get("caBundle"):
            certificates.install(bundle, state)
            state.ca_bundle = bundle
        state.keep()


def _name_events_host(address: str) -> None:
    lines = [line for line in text_file.read("/etc/hosts").splitlines() if EVENTS_HOST not in line.split()]
    text_file.write("/etc/hosts", "\n".join([*lines, f"{address} {EVENTS_HOST}"]) + "\n")
