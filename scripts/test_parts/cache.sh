# shellcheck shell=bash
# Sourced by every script here: the one folder where the test parts live, and the making of a part. The reason why one
# is missing is left there as a file, so that the tests that need the part can repeat it.
set -euo pipefail

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/dagster_apollo
# shellcheck disable=SC2034  # for those who source this
TOOLS=$CACHE/tools ENGINE=$CACHE/engine
MISSING=$CACHE/missing LOGS=$CACHE/log
mkdir -p "$TOOLS" "$MISSING" "$LOGS"

say() { printf '%s\n' "$*" >&2; }

# make_part NAME COMMAND...: says how long it took; where the command fails, its last line is the reason. The command is
# a program, not a function: `set -e` does not hold in one whose failure is asked about.
make_part() {
    local name=$1 log=$LOGS/$1.log started=$SECONDS
    shift
    if "$@" >"$log" 2>&1; then
        rm -f "$MISSING/$name"
        ((SECONDS - started < 2)) || say "$name: $((SECONDS - started)) s"
    else
        tail -1 "$log" >"$MISSING/$name"
        return 1
    fi
}
