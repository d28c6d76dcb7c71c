"""What the log says of a process: its start with the command, its end with how it ended and how much went through its streams.

Nothing of its environment, its input or its output (data-plane contract §5.3).
"""

from __future__ import annotations

import time

from sandbank.contracts.process import ProcessConfig
from sandbank.domain.errors import SandbankError
from sandbank.envd.journal import JOURNAL
from sandbank.envd.process.running import RunningProcess
from sandbank.envd.process.spawn import Command

_LOGGER = "process"


def log_run(process: RunningProcess, command: Command) -> None:
    """A line now and one at the end."""
    operation, started = JOURNAL.new_operation(), time.monotonic()
    about = {"operation_id": operation, "pid": process.pid, "command": " ".join(command.arguments)}
    if process.tag is not None:
        about["tag"] = process.tag
    JOURNAL.write(
        "info",
        _LOGGER,
        f"Process with pid {process.pid} started",
        event_type="process_start",
        **about,
        user=command.account.name,
        cwd=command.directory,
    )

    def ended() -> None:
        end = process.end
        assert end is not None
        JOURNAL.write(
            "info",
            _LOGGER,
            f"Process with pid {process.pid} ended: {end.status}",
            event_type="process_end",
            **about,
            exit_code=end.exit_code,
            status=end.status,
            duration_ms=round((time.monotonic() - started) * 1000, 3),
            **{f"{stream}_bytes": count for stream, count in process.bytes.items()},
        )

    process.on_end.add(ended)


def log_failure(config: ProcessConfig, error: SandbankError) -> None:
    """It could not be started."""
    command = " ".join((config.cmd, *config.args))
    JOURNAL.write("warn", _LOGGER, error.message, event_type="process_start_failed", operation_id=JOURNAL.new_operation(), command=command)
