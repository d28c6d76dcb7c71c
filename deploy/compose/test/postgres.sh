#!/bin/sh
# What the official image's entrypoint does with these variables, as far as the stack needs it.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
    "$bin/initdb" --pgdata="$data" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-host=scram-sha-256 --auth-local=trust \
        --encoding=UTF8 --locale=C.UTF-8 > /dev/null
    echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
    "$bin/pg_ctl" --pgdata="$data" --options="-c listen_addresses= -k /tmp" --wait start > /dev/null
    "$bin/createdb" --host=/tmp --username="$POSTGRES_USER" "$POSTGRES_DB" || true
    "$bin/pg_ctl" --pgdata="$data" --mode=fast --wait stop > /dev/null
fi
exec "$bin/postgres" -D "$data" -c listen_addresses='*' -k /tmp
