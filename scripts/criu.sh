#!/usr/bin/env bash
# Gets CRIU 4.2 or newer, which saves and brings back the memory of sandboxes: Debian 13 and older have none that can do it on today's
# kernels. Goes to a directory of its own, with its own C library; nothing of the system is changed. Fails when it cannot be had;
# with --optional it says so and does not try again before tomorrow. With --check it only tells, by its exit code, whether it is there.
set -euo pipefail
cd "$(dirname "$0")/.."

home=${SANDBANK_CRIU_HOME:-/opt/sandbank} # elsewhere nobody looks for it: name it with SANDBANK_CRIU then
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
suite=sid

new_enough() { [ -x "$1" ] && "$1" --version 2> /dev/null | grep -qE '^Version: (4\.([2-9]|[1-9][0-9])|[5-9]|[1-9][0-9])'; }

give_up() {
    echo "no CRIU: $1; sandboxes cannot be paused with their memory" >&2
    [ "${optional:-}" ] || exit 1
    mkdir -p "$home" 2> /dev/null && touch "$home/.criu-tried" 2> /dev/null
    exit 0
}

[ "${1:-}" != --optional ] || optional=yes
trap 'give_up "failed at: $BASH_COMMAND"' ERR
if [ "${SANDBANK_CRIU:-}" ]; then
    new_enough "$SANDBANK_CRIU" || give_up "$SANDBANK_CRIU, which SANDBANK_CRIU names, is not CRIU 4.2 or newer"
    exit 0
fi
is_there() {
    local program
    for program in "$home"/criu-*/bin/criu "$(command -v criu || echo /usr/sbin/criu)"; do
        ! new_enough "$program" || return 0
    done
    return 1
}
! is_there || exit 0
[ "${1:-}" != --check ] || { trap - ERR; exit 1; }
[ ! "${optional:-}" ] || [ -z "$(find "$home/.criu-tried" -mtime -1 2> /dev/null)" ] || exit 0
[ "$(id -u)" = 0 ] || give_up "installing it needs root"
for program in apt-get dpkg-deb flock; do
    command -v $program > /dev/null || give_up "$program is not there; install CRIU 4.2 or newer by hand, or name one with SANDBANK_CRIU"
done
if [ ! -e $keyring ]; then
    echo "installing debian-archive-keyring" >&2
    apt=(apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120)
    DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --yes --no-install-recommends debian-archive-keyring > /dev/null 2>&1 ||
        { "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --yes debian-archive-keyring; } > /dev/null 2>&1 ||
        give_up "debian-archive-keyring cannot be installed"
fi

mkdir -p "$home"
exec 9> "$home/.criu-lock"
flock 9
! is_there || exit 0
rm -rf "$home"/.criu-?????? # of runs that were killed
work=$(mktemp -d "$home/.criu-XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work"/{lists,cache/archives}/partial "$work/debs" "$work/prefix/bin"

# The mirror of Debian that this machine uses, else Debian's own.
mirror=$(.venv/bin/python - << 'PYTHON'
from sandbank.template_manager.adapters.node_mirrors import node_apt_sources
from sandbank.template_manager.core.apt_sources import debian_default

print((node_apt_sources("sid") or debian_default("sid"))[0].uri)
PYTHON
)
echo "deb [signed-by=$keyring] $mirror $suite main" > "$work/sources.list"
options=(-qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$work/lists"
    -o Dir::State::status=/dev/null -o APT::Update::Error-Mode=any
    -o Dir::Cache="$work/cache" -o Acquire::Languages=none -o APT::Sandbox::User=root
    -o Acquire::Retries=1 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15)
SECONDS=0
echo "getting CRIU from $mirror $suite" >&2
apt-get "${options[@]}" update > "$work/log" 2>&1 || give_up "$(tail -n 1 "$work/log")"
# With every library that it links, so that one loader serves them all.
mapfile -t packages < <(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances criu 2> "$work/log" | grep -E '^(criu|lib)[a-z0-9.+-]*$' | sort -u)
[[ " ${packages[*]} " == *" criu "* ]] || give_up "$mirror has none in $suite"
# apt takes only what the archive's signature vouches for.
(cd "$work/debs" && apt-get "${options[@]}" download "${packages[@]}") > "$work/log" 2>&1 || give_up "$(tail -n 1 "$work/log")"
for deb in "$work"/debs/*.deb; do
    dpkg-deb --extract "$deb" "$work/prefix/root"
done

version=$(dpkg-deb --field "$work"/debs/criu_*.deb Version)
version=${version%%[-+~]*}
loader=$(cd "$work/prefix" && echo root/usr/lib/*/ld-linux-*.so.*)
target=$home/criu-$version
cat > "$work/prefix/bin/criu" << SCRIPT
#!/bin/sh
exec $target/$loader --library-path $target/${loader%/*} $target/root/usr/sbin/criu "\$@"
SCRIPT
chmod 755 "$work/prefix/bin/criu"
(cd "$work/debs" && printf '%s\n' *.deb) > "$work/prefix/packages"
sync -f "$work/prefix"
[ ! -e "$target" ] || mv "$target" "$work/broken"
mv -T "$work/prefix" "$target"
if ! new_enough "$target/bin/criu"; then
    mv "$target" "$work/useless"
    give_up "what $mirror has in $suite ($version) does not run here or is older than 4.2"
fi
rm -f "$home/.criu-tried"
echo "installed CRIU $version with ${#packages[@]} packages of Debian $suite in $target, in $SECONDS s" >&2
