"""What the code interpreter's Python package can do here with the `base` template; its own template is another's to bring."""

from __future__ import annotations

import importlib
from typing import Any

# Neither is there when this file is looked at from the checkout: they are beside the interpreter that runs it.
code_interpreter: Any = importlib.import_module("e2b_code_interpreter")
scenario: Any = importlib.import_module("scenario")


def create_and_kill(_: Any) -> None:
    sandbox = code_interpreter.Sandbox.create("base", timeout=60)
    assert sandbox.kill() is True
    assert sandbox.is_running() is False


def commands(sandbox: Any) -> None:
    assert sandbox.commands.run("echo fine").stdout == "fine\n"


def files(sandbox: Any) -> None:
    sandbox.files.write("text", "kept")
    assert sandbox.files.read("text") == "kept"


def running_code(sandbox: Any) -> None:
    sandbox.run_code("1 + 1")


def errors(_: Any) -> None:
    """Its default template is not here, and the answer says so."""
    assert "code-interpreter-v1" in str(scenario.failure_of(lambda: code_interpreter.Sandbox.create(timeout=60)))


CHECKS = [create_and_kill, commands, files, running_code, errors]

if __name__ == "__main__":
    scenario.report("e2b-code-interpreter", code_interpreter.Sandbox.create("base", timeout=300), CHECKS)
