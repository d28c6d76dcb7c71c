#!/usr/bin/env bash
# Debian packages and JavaScript modules that only the tests and benchmarks need; installs what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" DEBIAN_FRONTEND=noninteractive

missing=()
want() { command -v "$1" > /dev/null || [ -e "$1" ] || missing+=("$2"); }
for package in "$@"; do
    case $package in
        postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || missing+=(postgresql) ;;
        nginx-light) want nginx nginx-light ;;
        default-jdk-headless) want jshell default-jdk-headless ;;
        nftables) want nft nftables ;;
        iproute2) want ip iproute2 ;;
        xfsprogs) want mkfs.xfs xfsprogs ;;
        docker.io) want /usr/sbin/dockerd docker.io ;;
        docker-compose) want docker-compose docker-compose ;;
        libnss3-tools) want certutil libnss3-tools ;;
        *) want "$package" "$package" ;;
    esac
done
if [ ${#missing[@]} != 0 ]; then
    echo "installing ${missing[*]}" >&2
    if [ "$(id -u)" != 0 ]; then
        echo "this needs root" >&2
        exit 1
    fi
    # The tests start servers of their own: the packages shall start none.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' > $policy && chmod +x $policy
    fi
    options=(-qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120)
    mkdir -p /usr/share/man/man1 # Java's packages want it, minimal images lack it
    apt-get "${options[@]}" install --yes --no-install-recommends "${missing[@]}" > /dev/null 2>&1 || {
        apt-get "${options[@]}" update > /dev/null
        apt-get "${options[@]}" install --yes --no-install-recommends "${missing[@]}" > /dev/null
    }
fi

javascript=tests/conformance/javascript
if [ -e $javascript/package-lock.json ] && [ ! $javascript/node_modules/.package-lock.json -nt $javascript/package-lock.json ]; then
    echo "installing the JavaScript SDK for the tests" >&2
    (cd $javascript && npm ci --no-audit --no-fund --silent)
fi
