#!/bin/sh
# A container hides parts of /proc and makes /proc/sys and /sys read-only. The kernel lets nobody mount a /proc or /sys of their own that
# shows more than what is there, and sandboxes have their own. What the sandboxes see is masked again, by the node.
set -eu
awk '$5 ~ /^\/(proc|sys)\// && $5 !~ /^\/sys\/fs\/cgroup/ { print length($5), $5 }' /proc/self/mountinfo | sort -rn | while read -r _ place; do
    umount "$place"
done
mount -o remount,rw /proc
mount -o remount,rw /sys
exec sandbank-entrypoint "$@"
