"""The template `code-interpreter-v1` as steps for the builder: a pure value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sandbank.code_interpreter.archive import Archive, archive

NAME = "code-interpreter-v1"
BASE_IMAGE = "e2bdev/base"
PORT = 49999
DIRECTORY = "/opt/code-interpreter"
PACKAGE = "sandbank_interpreter"

_START = f"sudo --non-interactive sh {DIRECTORY}/{PACKAGE}/start.sh"
_READY = f'curl -s -o /dev/null -w "%{{http_code}}" http://localhost:{PORT}/health | grep -q "200"'

# Debian's Java wants a directory for manuals, which a template without manuals does not have.
_APT = " && ".join(
    (
        "mkdir -p /usr/share/man/man1",
        "apt-get update",
        "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {packages}",
        "apt-get clean",
        "rm -rf /var/lib/apt/lists/*",
    )
)
_DEBIAN_PACKAGES = ("default-jdk-headless", "r-base-core", "r-cran-irkernel")


class Profile(StrEnum):
    """How much is in the template."""

    MINIMAL = "minimal"
    """Python with numpy, pandas, matplotlib and Pillow; JavaScript, TypeScript, bash."""
    FULL = "full"
    """In addition R and Java, and the packages for data and language work that users expect."""


@dataclass(frozen=True)
class Step:
    """One step (contract templates-and-data §1.2.3)."""

    type: str
    args: tuple[str, ...]
    files: Archive | None = None


@dataclass(frozen=True)
class Recipe:
    """All that a build needs to be told. The archives of its COPY steps are known to the builder by their hash."""

    steps: tuple[Step, ...]
    from_image: str = BASE_IMAGE
    start_command: str = _START
    ready_command: str = _READY
    cpu_count: int = 2
    memory_mib: int = 1024


def recipe(profile: Profile) -> Recipe:
    """Sandboxes of the template are the default user's; kernels are root's, as clients expect of this template."""
    requirements, guest = archive("requirements"), archive("guest")
    steps = []
    if profile is Profile.FULL:
        steps.append(_as_root(_APT.format(packages=" ".join(_DEBIAN_PACKAGES))))
    steps += [
        Step("COPY", ("requirements", f"{DIRECTORY}/requirements", "root"), requirements),
        _as_root(f"python3 -m venv {DIRECTORY}/venv && {_pip(f'{DIRECTORY}/venv/bin/python', 'server')}"),
        _as_root(_pip("/usr/bin/python3", profile.value)),
        Step("COPY", ("guest", f"{DIRECTORY}/{PACKAGE}", "root"), guest),
        _as_root(f"{DIRECTORY}/venv/bin/python -m compileall -q {DIRECTORY}/{PACKAGE}"),
        Step("USER", ("user",)),
        Step("WORKDIR", ("/home/user",)),
    ]
    return Recipe(tuple(steps))


def _as_root(command: str) -> Step:
    return Step("RUN", (command, "root"))


def _pip(python: str, requirements: str) -> str:
    return f"{python} -m pip install --no-cache-dir --only-binary :all: -r {DIRECTORY}/requirements/{requirements}.txt"
