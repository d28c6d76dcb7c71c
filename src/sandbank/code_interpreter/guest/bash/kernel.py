"""A kernel for bash: an interactive shell without a terminal, which reads cells from a pipe and says on another how each has ended.

Being interactive, it gives up a whole cell when it is interrupted, and goes on with the next.
"""

from __future__ import annotations

import codecs
import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
from typing import Any

PREPARATION = "PS1= PS2=; unset PROMPT_COMMAND; set +m +o history"
INTERRUPTED = 128 + signal.SIGINT
CHUNK_BYTES = 1 << 16


class Shell:
    """Answers are written as they come; whoever does not read them stops the shell, not this process' memory."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._ends, ends = os.pipe()
        self._say_end = f"printf '%s\\n' \"$?\" >&{ends}"
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(ends,),
        )
        os.close(ends)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._outputs = {self.process.stdout.fileno(): "stdout", self.process.stderr.fileno(): "stderr"}
        self._decoders = {fd: codecs.getincrementaldecoder("utf-8")("replace") for fd in self._outputs}
        for fd in self._outputs:
            os.set_blocking(fd, False)
        self._write(PREPARATION)

    def files(self) -> list[int]:
        """What to wait for besides requests."""
        return [self._ends, *self._outputs]

    def run(self, code: str) -> None:
        """Begins a cell; its variables and its directory are the shell's. It reads nothing from the pipe of the next ones."""
        self._write(f"eval {shlex.quote(code)} < /dev/null")

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n{self._say_end}\n".encode(errors="surrogateescape"))
        self.process.stdin.flush()

    def ended(self) -> int | None:
        """The exit status of the cell, after its output; None when the shell itself has ended."""
        data = os.read(self._ends, 16)
        for fd in self._outputs:
            while self.pass_on(fd):
                pass
        return int(data) if data else None

    def pass_on(self, fd: int) -> bool:
        """Answers with what there is of one stream; whether there was something."""
        try:
            data = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if text := self._decoders[fd].decode(data, final=not data):
            self.answer({"type": "stream", "name": self._outputs[fd], "text": text})
        return bool(data)

    def answer(self, message: dict[str, Any]) -> None:
        """One line."""
        data = memoryview(json.dumps(message).encode() + b"\n")
        while data:
            data = data[os.write(self._answers, data) :]


def main() -> None:
    """Until the server closes its end, or a cell ends the shell."""
    signal.signal(signal.SIGINT, lambda *_: None)  # not ignored: that, the shell would inherit
    requests = os.fdopen(int(os.environ.pop("REQUESTS_FD")), "rb", buffering=0)
    shell = Shell(int(os.environ.pop("ANSWERS_FD")))
    os.read(shell.files()[0], 16)
    for fd in shell.files()[1:]:
        os.read(fd, CHUNK_BYTES) if fd == shell.files()[2] else None  # it regrets not to have a terminal
    shell.answer({"type": "ready"})
    with selectors.DefaultSelector() as selector:
        for file in [requests.fileno(), *shell.files()]:
            selector.register(file, selectors.EVENT_READ)
        _serve(selector, requests.fileno(), shell)


def _serve(selector: selectors.BaseSelector, requests: int, shell: Shell) -> None:
    current, unread = 0, b""
    while True:
        for key, _ in selector.select():
            if key.fd == requests:
                data = os.read(requests, CHUNK_BYTES)
                if not data:  # the server is gone
                    os.killpg(0, signal.SIGKILL)
                *lines, unread = (unread + data).split(b"\n")
                for request in map(json.loads, lines):
                    if request.get("interrupt"):
                        os.killpg(0, signal.SIGINT)
                    else:
                        current = request["id"]
                        shell.run(request["code"])
            elif key.fd in shell.files()[1:]:
                if not shell.pass_on(key.fd):
                    selector.unregister(key.fd)
            else:
                status = shell.ended()
                if status is None:
                    sys.exit()
                if status:
                    name = "Interrupted" if status == INTERRUPTED else "ExitStatus"
                    shell.answer({"type": "error", "id": current, "name": name, "value": str(status), "traceback": f"exit status {status}"})
                shell.answer({"type": "done", "id": current})


if __name__ == "__main__":
    main()
