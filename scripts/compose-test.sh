#!/usr/bin/env bash
# The docker-compose stack from nothing, and the official SDKs against it from outside: `make compose-test`. Starts a Docker daemon of its
# own with images made from Debian's packages, so it needs no image from elsewhere; ends it and removes everything but its build cache.
# With --keep the stack stays for a look; the next run replaces it. ARGS are pytest's.
set -euo pipefail
cd "$(dirname "$0")/.."

home=${SANDBANK_COMPOSE_TEST_DIR:-/var/lib/sandbank-compose-test}
bridge=sbdocker0
keep=
if [ "${1:-}" = --keep ]; then keep=yes && shift; fi
export DOCKER_HOST=unix://$home/docker.sock DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0
# A Compose of version 2, where there is one, is asked the same things.
compose() { docker-compose --env-file deploy/compose/test/test.env "$@"; }
say() { printf '%6s s  %s\n' "$SECONDS" "$*" >&2; }

start_daemon() {
    mkdir -p "$home"
    ip link show $bridge > /dev/null 2>&1 || ip link add $bridge type bridge
    ip address replace 10.199.0.1/24 dev $bridge
    ip link set $bridge up
    setsid /usr/sbin/dockerd --data-root "$home/data" --exec-root "$home/exec" --host "$DOCKER_HOST" --pidfile "$home/docker.pid" \
        --bridge $bridge --default-address-pool base=10.200.0.0/16,size=24 --userland-proxy=true > "$home/dockerd.log" 2>&1 &
    for _ in $(seq 100); do
        ! docker version > /dev/null 2>&1 || return 0
        sleep 0.2
    done
    tail -n 20 "$home/dockerd.log" >&2
    return 1
}

stop_daemon() {
    [ ! -e "$home/docker.pid" ] || kill "$(cat "$home/docker.pid")" 2> /dev/null || return 0
    for _ in $(seq 100); do
        [ -e "$home/docker.pid" ] || break
        sleep 0.2
    done
    ip link delete $bridge 2> /dev/null || true
}

finish() {
    local code=$?
    if [ $code != 0 ]; then
        compose ps >&2 || true
        compose logs --no-color --tail=40 > "$home/stack.log" 2>&1 || true
        say "failed; the last lines of all services are in $home/stack.log"
    fi
    if [ -z "$keep" ]; then
        say "taking all down"
        compose down --volumes --remove-orphans --timeout 20 > /dev/null 2>&1 || true
        stop_daemon
    fi
    exit $code
}

wait_healthy() {
    local bad=
    for _ in $(seq 120); do
        bad=$(docker ps --all --filter label=com.docker.compose.project=sandbank-test --format '{{.Names}} {{.Status}}' |
            grep -vE '\(healthy\)|Exited \(0\)' || true)
        [ -n "$bad" ] || return 0
        sleep 1
    done
    printf 'not healthy:\n%s\n' "$bad" >&2
    return 1
}

scripts/test-packages.sh docker.io docker-compose mmdebstrap
stop_daemon
start_daemon
trap finish EXIT
say "the Docker daemon runs"
deploy/compose/local-base.sh sandbank-test/debian
for name in postgres redis registry clickhouse; do
    docker build --quiet --build-arg BASE=sandbank-test/debian --target $name --tag sandbank-test/$name deploy/compose/test > "$home/build-$name.log" 2>&1 ||
        { tail -n 20 "$home/build-$name.log" >&2 && exit 1; }
done
say "stand-ins for the stores are built"
compose build > "$home/build.log" 2>&1 || { tail -n 20 "$home/build.log" >&2 && exit 1; }
say "images are built: $(docker images --format '{{.Repository}} {{.Size}}' | grep -E '/(control|node) ' | tr '\n' ' ')"
compose down --volumes --remove-orphans > /dev/null 2>&1 || true
compose up -d > "$home/up.log" 2>&1 || { tail -n 20 "$home/up.log" >&2 && exit 1; }
wait_healthy
say "all services are healthy"

eval "$(compose run --rm account 2> /dev/null | tr -d '\r' | grep '^export E2B_')"
export SANDBANK_TEST_OUTSIDE=26000
.venv/bin/python -m tests.compose.wait_for_base
say "the base template is there"
compose run --rm db-migrator up
compose run --rm clickhouse-migrator up
.venv/bin/pytest -p no:cacheprovider tests/compose "$@"
# All that a client can see; what looks into the node's own files, or kills its processes, is for installations of the tests' own.
.venv/bin/pytest -p no:cacheprovider tests/conformance/python tests/conformance/javascript "$@" \
    --deselect tests/conformance/python/test_sandbox_metrics.py::test_a_killed_engine_costs_no_sandbox_and_comes_back_with_its_data \
    --deselect tests/conformance/python/test_pause_cycles.py
for service in redis postgres clickhouse api orchestrator client-proxy template-manager; do
    compose restart --timeout 20 $service > /dev/null 2>&1
done
wait_healthy
say "healthy again after restarts in another order"
.venv/bin/pytest -p no:cacheprovider tests/compose/test_stack.py "$@"
say "done"
