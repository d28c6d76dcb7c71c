"""What the server knows of each language: its names, and how to say "environment variable" in it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ALIASES = {"": "python", "python3": "python", "py": "python", "js": "javascript", "ts": "typescript", "sh": "bash"}


@dataclass(frozen=True)
class Language:
    """Statements are executed silently before a cell, never as part of it: its line numbers stay what its author sees."""

    name: str
    assign: Callable[[str, str], str]
    unassign: Callable[[str], str]
    after_birth: str = ""  # executed once, before a context's first cell: a warm kernel is the same in all sandboxes of a template

    def environment_code(self, values: Mapping[str, str | None]) -> str:
        """Sets these variables of the kernel's process; None removes one."""
        return "\n".join(self.unassign(name) if value is None else self.assign(name, value) for name, value in values.items())


def normalised(name: str | None) -> str:
    """The language a client means: lower case, without an alias; none means Python."""
    plain = (name or "").strip().lower()
    return ALIASES.get(plain, plain)


_RESEED = "\n".join(
    (
        "for _name in ('random', 'numpy.random'):",
        "    if _name in __import__('sys').modules: __import__('sys').modules[_name].seed()",
        "del _name",
    )
)


def _r_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=True).replace("\\/", "/")


PYTHON = Language(
    "python",
    lambda name, value: f"__import__('os').environ[{name!r}] = {value!r}",
    lambda name: f"__import__('os').environ.pop({name!r}, None)",
    _RESEED,
)
JAVASCRIPT = Language(
    "javascript",
    lambda name, value: f"process.env[{json.dumps(name)}] = {json.dumps(value)};",
    lambda name: f"delete process.env[{json.dumps(name)}];",
)
TYPESCRIPT = Language("typescript", JAVASCRIPT.assign, JAVASCRIPT.unassign)
BASH = Language(
    "bash",
    lambda name, value: f"export {name}={shlex.quote(value)}",
    lambda name: f"unset {name}",
)
R = Language(
    "r",
    lambda name, value: f"invisible(do.call(Sys.setenv, setNames(list({_r_string(value)}), {_r_string(name)})))",
    lambda name: f"invisible(Sys.unsetenv({_r_string(name)}))",
)
JAVA = Language(
    "java",
    lambda name, value: f"System.setProperty({json.dumps(name)}, {json.dumps(value)});",
    lambda name: f"System.clearProperty({json.dumps(name)});",
)

LANGUAGES = {language.name: language for language in (PYTHON, JAVASCRIPT, TYPESCRIPT, BASH, R, JAVA)}
