#!/bin/sh
# Settings that are not set, or set to nothing, are taken from files of their names: secrets that the first start has generated.
set -eu
directory=${SANDBANK_SECRETS_DIR:-/run/secrets/sandbank}
for file in "$directory"/[A-Z]*; do
    [ -f "$file" ] || continue
    name=${file##*/}
    eval "given=\${$name:-}"
    [ -n "$given" ] || export "$name=$(cat "$file")"
done
exec sandbank "$@"
