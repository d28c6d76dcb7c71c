"""What the code interpreter's Python package can do here, with the template that it asks for."""

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
    """State stays; output is heard as it comes."""
    sandbox.run_code("x = 40")
    heard: list[str] = []
    ran = sandbox.run_code("print('said')\nx + 2", on_stdout=lambda message: heard.append(message.line))
    assert (ran.text, "".join(ran.logs.stdout), "".join(heard)) == ("42", "said\n", "said\n")


def rich_results(sandbox: Any) -> None:
    ran = sandbox.run_code(
        "import matplotlib.pyplot as plt\nplt.plot([1, 2], [3, 4])\nplt.show()\nimport pandas\npandas.DataFrame({'a': [1]})"
    )
    picture, table = ran.results
    assert picture.png
    assert "<table" in table.html


def contexts(sandbox: Any) -> None:
    context = sandbox.create_code_context(cwd="/tmp")
    assert sandbox.run_code("import os; os.getcwd()", context=context).text == "/tmp"
    assert sandbox.run_code("'x' in globals()", context=context).text == "False"


def other_languages(sandbox: Any) -> None:
    assert sandbox.run_code("const a: number = 5; a * 2", language="typescript").text == "10"
    assert sandbox.run_code("echo $((6 * 7))", language="bash").logs.stdout == ["42\n"]


def errors(sandbox: Any) -> None:
    assert sandbox.run_code("1 / 0").error.name == "ZeroDivisionError"
    assert "no-such-template" in str(scenario.failure_of(lambda: code_interpreter.Sandbox.create("no-such-template", timeout=60)))


CHECKS = [create_and_kill, commands, files, running_code, rich_results, contexts, other_languages, errors]

if __name__ == "__main__":
    scenario.report("e2b-code-interpreter", code_interpreter.Sandbox.create(timeout=300), CHECKS)
