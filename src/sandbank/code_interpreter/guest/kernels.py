"""Which program is the kernel of a language, and how it is started."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from .jupyter_kernel import JupyterKernel
from .kernel import Kernel, KernelFailedError
from .languages import Language
from .program_kernel import ProgramKernel

HERE = Path(__file__).parent
GLOBAL_MODULES = "/usr/local/lib/node_modules"

JAVA_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
"""Cells are short: few threads, and compilation that is quick rather than thorough."""

KernelFactory = Callable[[Language], Kernel]


def kernel_factory(python: str, run_directory: Path, environment: Mapping[str, str]) -> KernelFactory:
    """`python` is the interpreter of users' cells, not ours; it has ipykernel."""

    def make(language: Language) -> Kernel:
        if language.name == "python":
            argv = [python, str(HERE / "ipython" / "launch.py"), "-f", "{connection_file}"]
            return JupyterKernel(argv, environment, run_directory)
        if language.name == "bash":
            return ProgramKernel([sys.executable, str(HERE / "bash" / "kernel.py")], environment)
        if language.name == "r":
            return JupyterKernel(
                [_program("R"), "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"], environment, run_directory
            )
        if language.name in {"javascript", "typescript"}:
            variables = {"NODE_PATH": GLOBAL_MODULES, **environment}
            return ProgramKernel([_program("node"), "--no-warnings", str(HERE / "node" / "kernel.mjs"), language.name], variables)
        if language.name == "java":
            return ProgramKernel([_program("java"), *JAVA_OPTIONS, str(HERE / "java" / "Kernel.java")], environment)
        raise KernelFailedError(f"No kernel for the language {language.name}")

    def _program(name: str) -> str:
        found = shutil.which(name, path=environment.get("PATH", os.defpath))
        if found is None:
            raise KernelFailedError(f"{name} is not installed")
        return found

    return make
