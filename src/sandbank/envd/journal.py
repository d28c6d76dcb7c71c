"""What the agent says of itself: one JSON object per line on standard error.

Not `logging`: its records format local time (a file of the host's) and its tracebacks read source files, neither of which exist
inside a sandbox.
"""

from __future__ import annotations

import json
import os
import time
from types import TracebackType


def _frames(trace: TracebackType | None) -> list[str]:
    frames: list[str] = []
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return frames


def report(where: str, error: BaseException) -> None:
    """An error nobody expected, with the lines it passed through. Never raises: nobody may be reading."""
    line = {"level": "error", "timestamp": round(time.time(), 3), "message": f"{type(error).__name__}: {error}", "where": where}
    text = json.dumps(line | {"frames": _frames(error.__traceback__)}) + "\n"
    try:
        os.write(2, text.encode())
    except OSError:
        return
