"""Records of running sandboxes: one small JSON file each, so that a restarted orchestrator knows what it owns."""

from __future__ import annotations

import base64
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from sandbank.domain.errors import UnavailableError
from sandbank.domain.identifiers import is_sandbox_id
from sandbank.orchestrator.core.sandbox import RunningSandbox

FORMAT_VERSION = 1


class RecordDirectory:
    """`<directory>/<sandbox id>.json`, readable for the owner only: it holds access tokens.

    Files appear and change by rename and are not fsynced. What they describe are processes: a crash of ours leaves both, a crash of the
    machine leaves neither, and then a lost record is right.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = structlog.get_logger("sandbank.orchestrator")

    def save(self, sandbox: RunningSandbox) -> None:
        """`UnavailableError` when the disk does not take it; an earlier record is then intact."""
        target = self._path(sandbox.sandbox_id)
        aside = target.with_suffix(".tmp")
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(_encode(sandbox))
            os.rename(aside, target)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise UnavailableError(f"cannot record the sandbox on disk: {error.strerror}") from error

    def remove(self, sandbox_id: str) -> None:
        """Idempotent; `UnavailableError` when the disk refuses."""
        try:
            self._path(sandbox_id).unlink(missing_ok=True)
        except OSError as error:
            raise UnavailableError(f"cannot remove the sandbox's record: {error.strerror}") from error

    def load_all(self) -> list[RunningSandbox]:
        """Every record. What cannot be read is renamed to `*.damaged` and logged: its sandbox then counts as unacknowledged.

        `UnavailableError` when the directory itself cannot be used; it is made where it is missing.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for leftover in self._directory.glob("*.tmp"):
                leftover.unlink(missing_ok=True)
            return [sandbox for path in sorted(self._directory.glob("*.json")) if (sandbox := self._load(path)) is not None]
        except OSError as error:
            raise UnavailableError(f"cannot use {self._directory}: {error.strerror}") from error

    def _path(self, sandbox_id: str) -> Path:
        assert is_sandbox_id(sandbox_id), sandbox_id
        return self._directory / f"{sandbox_id}.json"

    def _load(self, path: Path) -> RunningSandbox | None:
        try:
            sandbox = _decode(path.read_bytes())
            if sandbox.sandbox_id != path.stem:
                raise ValueError(f"describes {sandbox.sandbox_id!r}")
        except (ValueError, KeyError, TypeError) as error:
            self._log.error("damaged record put aside", path=str(path), error=repr(error))
            path.rename(path.with_suffix(".damaged"))
            return None
        return sandbox


def _encode(sandbox: RunningSandbox) -> bytes:
    document = {
        "format_version": FORMAT_VERSION,
        "sandbox_id": sandbox.sandbox_id,
        "execution_id": sandbox.execution_id,
        "team_id": sandbox.team_id,
        "started_at": sandbox.started_at.isoformat(),
        "end_at": sandbox.end_at.isoformat(),
        "vcpu": sandbox.vcpu,
        "memory_mib": sandbox.memory_mib,
        "disk_mib": sandbox.disk_mib,
        "traffic_token": sandbox.traffic_token,
        "mask_host": sandbox.mask_host,
        "https_ports": sorted(sandbox.https_ports),
        "auto_pause": sandbox.auto_pause,
        "config": base64.b64encode(sandbox.config).decode(),
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _decode(content: bytes) -> RunningSandbox:
    document: dict[str, Any] = json.loads(content)
    if document["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format version {document['format_version']}")
    return RunningSandbox(
        sandbox_id=str(document["sandbox_id"]),
        execution_id=str(document["execution_id"]),
        team_id=str(document["team_id"]),
        started_at=_aware(document["started_at"]),
        end_at=_aware(document["end_at"]),
        vcpu=int(document["vcpu"]),
        memory_mib=int(document["memory_mib"]),
        disk_mib=int(document["disk_mib"]),
        traffic_token=document["traffic_token"],
        mask_host=document["mask_host"],
        https_ports=frozenset(int(port) for port in document.get("https_ports", ())),  # older records have none
        auto_pause=bool(document["auto_pause"]),
        config=base64.b64decode(document["config"], validate=True),
    )


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time without a zone: {text}")
    return moment
