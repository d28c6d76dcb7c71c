#!/usr/bin/env bash
# What `make up` does once .venv is there. CRIU is fetched while the base template is made: one waits for the network, the other computes.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/criu.sh --optional &
if ! scripts/criu.sh --check && [ "$(id -u)" = 0 ]; then
    .venv/bin/sandbank prepare
fi
wait $!
exec .venv/bin/sandbank up --detach "$@"
