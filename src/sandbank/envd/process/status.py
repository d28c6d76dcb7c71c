"""How a process ended, in the words clients match on (data-plane contract §2.7)."""

from __future__ import annotations

import os
import signal

from sandbank.contracts.process import ProcessEvent

_SIGNALS = {
    signal.SIGHUP: "hangup",
    signal.SIGINT: "interrupt",
    signal.SIGQUIT: "quit",
    signal.SIGILL: "illegal instruction",
    signal.SIGTRAP: "trace/breakpoint trap",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGKILL: "killed",
    signal.SIGUSR1: "user defined signal 1",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGUSR2: "user defined signal 2",
    signal.SIGPIPE: "broken pipe",
    signal.SIGALRM: "alarm clock",
    signal.SIGTERM: "terminated",
}
_NAMES = {int(number): text for number, text in _SIGNALS.items()}


def end_event(wait_status: int) -> ProcessEvent.EndEvent:
    """The terminal event for a status as `waitpid` gives it."""
    if os.WIFSIGNALED(wait_status):
        number = os.WTERMSIG(wait_status)
        text = f"signal: {_NAMES.get(number, f'signal {number}')}"
        if os.WCOREDUMP(wait_status):
            text += " (core dumped)"
        return ProcessEvent.EndEvent(exit_code=-1, exited=False, status=text, error=text)
    code = os.WEXITSTATUS(wait_status)
    text = f"exit status {code}"
    return ProcessEvent.EndEvent(exit_code=code, exited=True, status=text, error=text if code else None)
