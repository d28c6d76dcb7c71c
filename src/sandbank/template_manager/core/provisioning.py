"""The scripts that turn any image into what sandboxes are made of (contract templates-and-data §1.10). Pure: they are run elsewhere.

Each is for `/bin/sh` as root, inside the image. They need a POSIX shell and the distribution's own package manager and nothing else,
may be repeated, and write only what differs, since a file that is touched is copied into the new layer. What an image brings along
needs no network. No init system, sshd, clock, firewall or NFS client is installed: no sandbox could run them.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping

from sandbank.template_manager.core.distributions import Distribution, Family

# A program by which a package is recognised, and the package.
_WANTED: dict[Family, tuple[tuple[str, str], ...]] = {
    "debian": (
        *(("bash", "bash"), ("sudo", "sudo"), ("curl", "curl"), ("update-ca-certificates", "ca-certificates"), ("ss", "iproute2")),
        *(("pgrep", "procps"), ("ping", "iputils-ping"), ("useradd", "passwd"), ("git", "git"), ("jq", "jq"), ("less", "less")),
        *(("socat", "socat"),),
    ),
    "fedora": (
        *(("bash", "bash"), ("sudo", "sudo"), ("curl", "curl"), ("update-ca-trust", "ca-certificates"), ("ss", "iproute")),
        *(("pgrep", "procps-ng"), ("ping", "iputils"), ("useradd", "shadow-utils"), ("git", "git-core"), ("jq", "jq"), ("less", "less")),
        *(("socat", "socat"), ("tar", "tar"), ("gzip", "gzip"), ("find", "findutils"), ("hostname", "hostname")),
    ),
    "arch": (
        *(("bash", "bash"), ("sudo", "sudo"), ("curl", "curl"), ("update-ca-trust", "ca-certificates"), ("ss", "iproute2")),
        *(("pgrep", "procps-ng"), ("ping", "iputils"), ("useradd", "shadow"), ("git", "git"), ("jq", "jq"), ("less", "less")),
        *(("socat", "socat"), ("tar", "tar"), ("gzip", "gzip"), ("find", "findutils")),
    ),
    "alpine": (
        *(("bash", "bash"), ("sudo", "sudo"), ("curl", "curl"), ("update-ca-certificates", "ca-certificates"), ("ss", "iproute2")),
        *(("pgrep", "procps"), ("ping", "iputils"), ("useradd", "shadow"), ("git", "git"), ("jq", "jq"), ("less", "less")),
        *(("socat", "socat"),),
    ),
}

_INSTALL: dict[Family, str] = {
    "debian": """
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq -o Dpkg::Use-Pty=0 install --yes --no-install-recommends $missing
    apt-get -qq clean
    rm -rf /var/lib/apt/lists/*
""",
    "fedora": """
    if command -v dnf > /dev/null 2>&1; then
        dnf --quiet --assumeyes --setopt=install_weak_deps=0 --setopt=tsflags=nodocs install $missing
        dnf --quiet clean all
    elif command -v microdnf > /dev/null 2>&1; then
        microdnf --assumeyes --setopt=install_weak_deps=0 --nodocs install $missing
        microdnf clean all
    else
        yum --quiet --assumeyes --setopt=tsflags=nodocs install $missing
        yum --quiet clean all
    fi
""",
    # Arch knows no partial upgrades: what is installed must fit what is there. Its downloads want a sandbox that cannot be had in one.
    "arch": """
    case "$(pacman --sync --help)" in *--disable-sandbox*) options=--disable-sandbox ;; *) options= ;; esac
    [ -s /etc/pacman.d/gnupg/pubring.gpg ] || { pacman-key --init; pacman-key --populate; }
    pacman --sync --refresh --sysupgrade --needed --noconfirm --noprogressbar $options $missing
    pacman --sync --clean --clean --noconfirm $options > /dev/null
""",
    "alpine": """
    apk add --no-progress --no-cache $missing
""",
}

_MANAGER: dict[Family, str] = {"debian": "apt-get", "fedora": "dnf microdnf yum", "arch": "pacman", "alpine": "apk"}

_BEGIN = r"""set -eu
umask 022
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C

text() { cat "$1" 2> /dev/null || :; }
has() { case "$(text "$1")" in *"$2"*) return 0 ;; esac; return 1; }   # file, text
put() {                                                                # file, content
    [ ! -L "$1" ] && [ -f "$1" ] && [ "$(text "$1")" = "$2" ] && return 0
    rm -f "$1"
    mkdir -p "${1%/*}/"
    printf '%s\n' "$2" > "$1"
}
no_password() {                                                        # user; root's line is the first, others follow a newline
    case "
$(text /etc/shadow)" in *"
$1::"*) ;; *) usermod -p '' "$1" ;; esac
}
"""

_FILES = r"""
put /etc/hostname e2b.local
put /etc/hosts "$(printf '127.0.0.1\tlocalhost e2b.local\n::1\tlocalhost ip6-localhost ip6-loopback')"
put /etc/resolv.conf 'nameserver 8.8.8.8'

prompt='PS1="\w \$ "'
for file in /etc/bash.bashrc /etc/bashrc /etc/bash/bashrc /etc/skel/.bashrc /root/.bashrc; do
    case $file in /etc/bash*) [ -f $file ] || continue ;; esac
    has $file "$prompt" || { mkdir -p "${file%/*}"; printf '%s\n' "$prompt" >> $file; }
done
put /etc/profile.d/zz-bashrc.sh 'export SHELL=/bin/bash
if [ -n "${BASH_VERSION:-}" ] && [ -f ~/.bashrc ]; then . ~/.bashrc; fi'

# The kernel refuses to run a file with a capability that the sandbox cannot have; ICMP sockets do without.
if command -v getcap > /dev/null 2>&1; then
    ping=$(command -v ping)
    [ -z "$(getcap "$ping")" ] || setcap -r "$ping"
fi

no_password root
[ ! -e /var/lib/dbus/machine-id ] || rm -f /var/lib/dbus/machine-id
if [ -L /etc/machine-id ] || [ -s /etc/machine-id ] || [ ! -e /etc/machine-id ]; then rm -f /etc/machine-id; : > /etc/machine-id; fi
"""

_USER = r"""
admin_group=sudo
! has /usr/local/share/e2b/distro.env E2B_ADMIN_GROUP=wheel || admin_group=wheel
[ -d /home ] || mkdir /home
if ! id -u user > /dev/null 2>&1; then
    case "
$(text /etc/group)" in *"
user:"*) useradd -m -s /bin/bash -g user user ;; *) useradd -m -s /bin/bash -U user ;; esac
fi
case "
$(text /etc/group)" in *"
$admin_group:"*) ;; *) groupadd "$admin_group" ;; esac
case " $(id -nG user) " in *" $admin_group "*) ;; *) usermod -a -G "$admin_group" user ;; esac
no_password user
sudoers='Defaults env_keep += "NODE_EXTRA_CA_CERTS REQUESTS_CA_BUNDLE SSL_CERT_FILE"
user ALL=(ALL:ALL) NOPASSWD: ALL'
if ! has /etc/sudoers.d/user "$sudoers"; then
    put /etc/sudoers.d/user "$sudoers"
    chmod 0440 /etc/sudoers.d/user
fi
mkdir -p /home/user
for file in /etc/skel/.[!.]*; do
    [ ! -e "$file" ] || [ -e "/home/user/${file##*/}" ] || cp -R "$file" /home/user/
done
find /home/user ! -user user -exec chown -h "user:$(id -gn user)" {} +
"""

_FINALIZE = r"""
put /.e2b "$identity"
[ -d /code ] || mkdir /code
[ ! -d /usr/local ] || find /code /usr/local ! -type l ! -perm -777 -exec chmod 777 {} +
"""


def packages(family: Family) -> tuple[str, ...]:
    """What provisioning sees to."""
    return tuple(package for _, package in _WANTED[family])


def provision_script(distribution: Distribution) -> str:
    """Installs what every template has and is missing here, and writes host name, prompt, profile and `distro.env`.

    Ends with 0, or another status and the package manager's words on stderr. Milliseconds and no network when nothing is missing.
    """
    family = distribution.family
    wanted = "\n".join(f'command -v {program} > /dev/null 2>&1 || missing="$missing {package}"' for program, package in _WANTED[family])
    facts = f"E2B_DISTRO_ID={shlex.quote(distribution.id)}\nE2B_INIT_SYSTEM=none\nE2B_ADMIN_GROUP={distribution.admin_group}"
    return (
        f"{_BEGIN}\nmissing=\n{wanted}\n"
        f'if [ -n "$missing" ]; then\n'
        f'    echo "installing$missing"\n'
        f"    manager=; for one in {_MANAGER[family]}; do ! command -v $one > /dev/null 2>&1 || manager=$one; done\n"
        f'    [ -n "$manager" ] || {{ echo "this image lacks$missing, and a package manager to install them" >&2; exit 1; }}\n'
        f"    {_INSTALL[family].strip()}\nfi\n"
        f"{_FILES}put /usr/local/share/e2b/distro.env {shlex.quote(facts)}\n"
        + ("[ -e /etc/default/locale ] || put /etc/default/locale LANG=C.UTF-8\n" if family == "debian" else "")
    )


def user_script() -> str:
    """Makes `user`, with a home and sudo without a password. To be run after `provision_script`; needs no network."""
    return f"{_BEGIN}{_USER}"


def finalize_script(identity: Mapping[str, str]) -> str:
    """Writes `identity` to `/.e2b`, and gives `/code` and `/usr/local` to everybody: only what is not everybody's already is touched."""
    lines = "\n".join(f"{name}={value}" for name, value in identity.items())
    return f"{_BEGIN}\nidentity={shlex.quote(lines)}{_FINALIZE}"


def revision() -> str:
    """Changes with any of the scripts."""
    families = [provision_script(Distribution(family, family)) for family in sorted(_WANTED)]
    return hashlib.sha256("\0".join((*families, user_script(), finalize_script({}))).encode()).hexdigest()
