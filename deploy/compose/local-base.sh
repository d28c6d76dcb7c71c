#!/usr/bin/env bash
# Makes an image of Debian from its packages, for machines that cannot pull one: `local-base.sh NAME`. It trusts what this machine
# trusts.
set -euo pipefail
name=${1:?name of the image}
if docker image inspect "$name" > /dev/null 2>&1; then
    exit 0
fi
hooks=()
if compgen -G '/usr/local/share/ca-certificates/*.crt' > /dev/null; then
    hooks+=(--customize-hook='mkdir -p "$1/usr/local/share/ca-certificates" && cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" && chroot "$1" update-ca-certificates > /dev/null')
fi
if apt-config dump | grep '^Acquire::Check-Valid-Until "\(false\|0\)"' > /dev/null; then # of a mirror that stands still
    hooks+=(--customize-hook='echo "Acquire::Check-Valid-Until \"false\";" > "$1/etc/apt/apt.conf.d/90valid"')
fi
echo "bootstrapping Debian for the image $name" >&2
mmdebstrap --quiet --mode=root --variant=minbase --dpkgopt=force-unsafe-io --include=ca-certificates,python3 "${hooks[@]}" \
    bookworm - | docker import - "$name" > /dev/null
