#!/usr/bin/env bash
# with_engine.sh COMMAND...: runs it with a container engine, and leaves the machine as it was.
#
# An engine that answers already is used and let alone. Else the tests' own is started, shared with everybody who comes
# by this script meanwhile, and stopped by the last of them. Exit code 3 and a reason on stderr: there is none to be had.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/test_parts/cache.sh
source "$here/cache.sh"

NO_ENGINE=3

if "$here/container_engine.sh" other; then
    exec "$@"
fi
if [[ ! -e $ENGINE/env.sh ]]; then
    say "$(cat "$MISSING/container-engine" 2>/dev/null || echo "\`make test-parts\` brings one")"
    exit $NO_ENGINE
fi

# Every user holds a shared lock; who gets it alone when leaving is the last one.
exec 8>"$ENGINE/users"
flock --shared 8
# shellcheck disable=SC1091  # written by container_engine.sh install
source "$ENGINE/env.sh"
if ! docker version >/dev/null 2>&1; then
    "$here/container_engine.sh" start || exit $NO_ENGINE
    touch "$ENGINE/stop-after-last-user"
fi

leave() {
    if [[ -e $ENGINE/stop-after-last-user ]] && flock --exclusive --nonblock 8; then
        rm -f "$ENGINE/stop-after-last-user"
        "$here/container_engine.sh" stop
    fi
}
# A signal waits until the command has ended: in a terminal it is given to both.
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$@" 8>&-
