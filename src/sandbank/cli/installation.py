"""Whether an installation runs, and as which process: a lock that ends with its holder, and a note about it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Self

from sandbank.artifacts.atomic import write_atomically
from sandbank.cli.settings import NodeSettings
from sandbank.domain.errors import ConflictError, DeadlineError


@dataclass(frozen=True)
class RunningService:
    """What a service notes about itself once it is ready."""

    pid: int
    started_at: str
    api_url: str
    sandbox_url: str
    domain: str = ""
    certificate: str = ""
    authority: str = ""  # of the local CA, if it is one


class Installation:
    """One data directory: at most one process serves from it, or prepares it, at a time."""

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self._lock_file = settings.data_dir / "lock"
        self._pid_file = settings.run_dir / "sandbank.pid"
        self._note_file = settings.run_dir / "service.json"
        self._end_file = settings.run_dir / "end-sandboxes"
        self._lock: int | None = None

    def make_directories(self) -> None:
        """Data and run directory, for root alone: they hold keys and every sandbox's files."""
        for directory in (self.settings.data_dir, self.settings.run_dir, self.settings.artifacts_dir, self.settings.log_file.parent):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for directory in (self.settings.data_dir, self.settings.run_dir):
            directory.chmod(0o700)

    def try_lock(self) -> bool:
        """Take the installation; False while another process has it. A process that dies gives it back, whatever kills it."""
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    @property
    def lock_descriptor(self) -> int:
        """To be inherited by the process that goes on serving."""
        assert self._lock is not None
        return self._lock

    def adopt_lock(self, descriptor: int) -> Self:
        """Go on with a lock that the starting process took."""
        os.set_inheritable(descriptor, False)
        self._lock = descriptor
        return self

    def is_held(self) -> bool:
        """Whether some process has the installation at this moment."""
        if not self._lock_file.exists():
            return False
        if not self.try_lock():
            return True
        self.unlock()
        return False

    def unlock(self) -> None:
        """Give the installation back, unless a child process still holds it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def note(self, service: RunningService) -> None:
        """Say that this process serves now."""
        write_atomically(self._note_file, json.dumps(asdict(service)).encode(), 0o600)
        write_atomically(self._pid_file, f"{service.pid}\n".encode())

    def forget(self) -> None:
        """Remove what `note` wrote and what a killed service left, after a stop that left no sandbox."""
        for file in (self._note_file, self._pid_file, self._end_file, self.settings.internal_socket):
            file.unlink(missing_ok=True)

    def find_service(self) -> RunningService | None:
        """The ready service; `None` when none runs, or while one is starting."""
        return self.last_service() if self.is_held() else None

    def last_service(self) -> RunningService | None:
        """What was last noted and not forgotten: also of a service that was killed."""
        with suppress(FileNotFoundError, ValueError, TypeError):
            return RunningService(**json.loads(self._note_file.read_text()))
        return None

    def ask_to_end(self, *, end_sandboxes: bool, timeout_seconds: float) -> None:
        """Stop the running service and wait until it is gone. `DeadlineError` if it takes longer, `ConflictError` while it is starting."""
        service = self.find_service()
        if service is None:
            raise ConflictError("another `sandbank` command is at work on this installation: try again when it is done")
        if end_sandboxes:
            self._end_file.touch(mode=0o600)
        else:
            self._end_file.unlink(missing_ok=True)
        with suppress(ProcessLookupError):
            os.kill(service.pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_seconds
        while self.is_held():
            if time.monotonic() > deadline:
                log = self.settings.log_file
                raise DeadlineError(f"the service (pid {service.pid}) has not ended within {timeout_seconds:.0f} s: see {log}")
            time.sleep(0.02)

    def take_end_request(self) -> bool:
        """Whether the present stop shall end the sandboxes, too."""
        return self._end_file.exists()
