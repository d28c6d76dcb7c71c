"""The shell scripts that steps come to inside the sandbox. Pure: text in, text out; every value that a recipe chose is quoted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_GLOB = re.compile(r"[*?\[{\\]")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_USER = r"""
set -eu
if ! id -u "$user" > /dev/null 2>&1; then
    if command -v useradd > /dev/null; then useradd --create-home --shell /bin/bash "$user"
    else adduser -D -s /bin/bash "$user"; fi
fi
"""
_ADMINISTRATOR = r"""
group=wheel
if getent group sudo > /dev/null 2>&1 || grep -q '^sudo:' /etc/group; then group=sudo; fi
grep -q "^$group:" /etc/group || groupadd "$group" 2> /dev/null || addgroup "$group"
if command -v usermod > /dev/null; then usermod -aG "$group" "$user"; else addgroup "$user" "$group"; fi
passwd -d "$user" > /dev/null
mkdir -p /etc/sudoers.d
line="$user ALL=(ALL:ALL) NOPASSWD: ALL"
if ! grep -qxF "$line" /etc/sudoers.d/* /etc/sudoers 2> /dev/null; then
    printf '%s\n' "$line" >> /etc/sudoers.d/90-template-users
    chmod 0440 /etc/sudoers.d/90-template-users
fi
"""

# Only directories that are new are given to the user: one that was there is somebody's.
_WORKDIR = r"""
set -eu
case "$path" in /*) ;; *) path="$base/$path" ;; esac
make() {
    if [ -e "$1" ] || [ -z "$1" ]; then return 0; fi
    make "${1%/*}"
    mkdir "$1"
    chown "$owner:" "$1"
}
make "${path%/}"
cd "$path"
pwd
"""

# `tar` into what is there: directories are merged and keep what they are, links to directories are followed, files are replaced.
_COPY = r"""
set -eu
umask 022
home=$(awk -F: -v name="$context_user" '$1 == name { print $6 }' /etc/passwd)
case "$dest" in /*) ;; *) dest="${base:-${home:-/}}/$dest" ;; esac
mkdir -p "$work/unpack"
tar -xf "$archive" -C "$work/unpack"
rm -f "$archive"
source="$work/unpack/$source"
if [ ! -e "$source" ] && [ ! -L "$source" ]; then echo "source path does not exist: $shown" >&2; exit 1; fi
give() {
    if ! chown $1 "$owner" "$2" 2> /dev/null; then chown $1 "${owner%%:*}:" "$2"; fi
}
if [ -L "$source" ] || [ ! -d "$source" ]; then
    if [ -L "$source" ]; then give -h "$source"
    else
        give "" "$source"
        if [ -n "$mode" ]; then chmod "$mode" "$source"; fi
    fi
    case "$dest" in */) mkdir -p "$dest" ;; *) mkdir -p "$(dirname "$dest")" ;; esac
    if [ -d "$dest" ]; then dest="${dest%/}/$(basename "$source")"; fi
    rm -f "$dest"
    mv "$source" "$dest"
else
    give -R "$source"
    if [ -n "$mode" ]; then chmod -R "$mode" "$source"; fi
    if [ ! -e "$dest" ]; then
        mkdir -p "$dest"
        give "" "$dest"
    fi
    if tar --version 2> /dev/null | grep -q GNU; then
        tar -C "$source" -cf - . | tar -C "$dest" --no-overwrite-dir --keep-directory-symlink -xpf -
    else
        cp -a "$source/." "$dest/"
    fi
fi
rm -rf "$work"
"""


def add_user(name: str, *, administrator: bool) -> str:
    """For root: have that user, with a home and bash; an administrator may do everything without a password."""
    return _variables(user=name) + _USER + (_ADMINISTRATOR if administrator else "")


def make_workdir(path: str, base: str, owner: str) -> str:
    """For root: have that directory, and print what it is called; a relative one is below `base`."""
    return _variables(path=path, base=base.rstrip("/"), owner=owner) + _WORKDIR


def copy_files(digest: str, source: str, destination: str, owner: str, mode: str, context_user: str, workdir: str) -> str:
    """For root: unpack the archive at `archive_path(digest)` and put what `source` names to its place (§1.2.4)."""
    if owner and ":" not in owner:
        owner = f"{owner}:{owner}"
    values = {
        "archive": archive_path(digest),
        "work": f"/tmp/{digest}",  # noqa: S108  # of the sandbox, where nobody else is
        "source": literal_prefix(source),
        "shown": source,
        "dest": destination,
        "owner": owner or f"{context_user}:{context_user}",
        "mode": mode,
        "context_user": context_user,
        "base": workdir,
    }
    return _variables(**values) + _COPY


def archive_path(digest: str) -> str:
    """Where in the sandbox the archive is put."""
    return f"/tmp/{digest}.tar"  # noqa: S108


def literal_prefix(source: str) -> str:
    """What of `source` comes before the first part with a wildcard: where its matches are in the archive."""
    parts = []
    for part in source.split("/"):
        if _GLOB.search(part):
            break
        if part not in ("", "."):
            parts.append(part)
    return "/".join(parts) or "."


def expand(pairs: Sequence[tuple[str, str]]) -> str:
    """For root: print the values, each ended by a NUL, with variables in them expanded, those of earlier pairs among them."""
    lines = ["set -f"]
    for name, value in pairs:
        lines.append(f'__value="{_escaped(value)}"')
        lines.append("printf '%s\\0' \"$__value\"")
        if _IDENTIFIER.fullmatch(name):
            lines.append(f'export {name}="$__value"')
    return "\n".join(lines) + "\n"


def needs_expansion(value: str) -> bool:
    """Whether a shell would make something else of it."""
    return "$" in value


def _escaped(value: str) -> str:
    # Variables are expanded, and nothing is executed (§1.2.3).
    value = value.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`")
    return value.replace("$(", "\\$(")


def _variables(**values: str) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
