"""Putting a bundle together, complete or absent, and starting a program from it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from sandbank.domain.errors import InternalError
from sandbank.runtime.bundle import inputs

_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_LIBRARY = re.compile(r"=> (/\S+)|^\s+(/\S+)", re.MULTILINE)


def find_or_assemble(bundles: Path) -> Path:
    """The bundle of this very code below `bundles`, made now if there is none; blocks for seconds then.

    Written aside and renamed, so a bundle with its name is whole. Older ones stay: a snapshot may refer to them.
    """
    bundle = bundles / inputs.fingerprint()
    if bundle.is_dir():
        return bundle
    aside = bundles / f".{bundle.name}.{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        _assemble(aside)
        try:
            aside.rename(bundle)
        except OSError:
            if not bundle.is_dir():  # unless another process was faster, which made the same
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return bundle


def command(bundle: Path, module: str, *arguments: str) -> list[str]:
    """The words that run `module` from the bundle by its own loader and libraries."""
    libraries = bundle / "lib"
    loader = next(path for path in libraries.iterdir() if path.name.startswith("ld-linux"))
    return [str(loader), "--library-path", str(libraries), str(bundle / "bin" / "python"), "-s", "-m", module, *arguments]


def environment(bundle: Path) -> dict[str, str]:
    """The whole environment of such a program: nothing of the node's is inherited, it would end up in every sandbox."""
    return {
        "PYTHONHOME": str(bundle),
        # Distributions patch their Python to look for packages elsewhere.
        "PYTHONPATH": str(bundle / "lib" / _VERSION / "site-packages"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        # A sandbox must have no ring of its own that a checkpoint cannot save.
        "UV_USE_IO_URING": "0",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        # The C library maps files of the node's for any other locale, and a snapshot could not be brought back without the very same ones.
        "LANG": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "1",
    }


def _assemble(target: Path) -> None:
    library = target / "lib" / _VERSION
    python = target / "bin" / "python"
    python.parent.mkdir(parents=True)
    shutil.copy2(Path(sys.executable).resolve(), python)
    binaries = [python]
    for sources, top in ((inputs.standard_library_files(), library), (inputs.library_files(), library / "site-packages")):
        for source, relative in sources:
            destination = top / relative
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, destination)
            if ".so" in source.suffixes:
                binaries.append(destination)
    for path in _shared_libraries(binaries):
        shutil.copy2(path, target / "lib" / path.name)
    _compile(target)


def _compile(target: Path) -> None:
    # Another program, not this process: it uses all processors by forking, which what else runs here (gRPC, exporters) may not survive.
    options = ["-q", "-q", "-j", "0", "-s", str(target), "--invalidation-mode", "unchecked-hash"]
    run = subprocess.run([sys.executable, "-I", "-m", "compileall", *options, str(target / "lib")], capture_output=True, check=False)
    if run.returncode != 0:
        raise InternalError("some modules of the agent bundle do not compile")


def _shared_libraries(binaries: list[Path]) -> set[Path]:
    """Every library, and the loader, that one of `binaries` links."""
    search = os.pathsep.join(filter(None, (str(Path(sys.base_prefix) / "lib"), os.environ.get("LD_LIBRARY_PATH"))))
    # ldd exits with 1 when one of its arguments is linked statically.
    run = subprocess.run(
        ["ldd", *map(str, binaries)], env={**os.environ, "LD_LIBRARY_PATH": search}, capture_output=True, text=True, check=False
    )
    missing = [line.strip() for line in run.stdout.splitlines() if "not found" in line]
    if missing:
        raise InternalError(f"the agent bundle would lack a library: {missing[0]}")
    names = {match[0] or match[1] for match in _LIBRARY.findall(run.stdout)}
    return {Path(name.rstrip(":")) for name in names if not name.endswith(":")}
