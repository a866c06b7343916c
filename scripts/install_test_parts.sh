#!/usr/bin/env bash
# Real parts that the tests use and no wheel brings: Chromium, a container engine with base images and a registry, an
# OpenID provider, a runner and a linter of workflows, an S3 server. PostgreSQL is the system's, else a wheel's.
#
# What the machine has is used; what it lacks is made once, in one folder of the user's cache, and a killed run goes on
# where it was. What cannot be had is named with the reason, and the tests that need it say so too; with CI=true that is
# a failure, the Pulumi engine excepted, which no package registry has.
here=$(cd "$(dirname "$0")" && pwd)
parts=$here/test_parts
# shellcheck source=scripts/test_parts/cache.sh
source "$parts/cache.sh"
# shellcheck source=scripts/test_parts/debian.sh
source "$parts/debian.sh"

find_chromium() {
    local name
    for name in chromium chromium-browser google-chrome; do
        type -P "$name" && return
    done
    may_install_packages || { say "install it by your system's package manager"; return 1; }
    install_packages chromium
}

find_pulumi() {
    type -P pulumi || { say "its engine is in no package registry: https://www.pulumi.com/docs/install"; return 1; }
}

# make_part runs programs: this script calls itself.
if (($#)); then
    "$@"
    exit
fi

# The processor makes these, the network the others.
"$parts/tools.sh" &
tools=$!
make_part chromium "$0" find_chromium || true
make_part pulumi "$0" find_pulumi || true
if make_part container-engine "$parts/container_engine.sh" install; then
    make_part base-images "$parts/with_engine.sh" "$parts/base_images.sh" || true
fi
wait "$tools"

refused=false
for reason in "$MISSING"/*; do
    [[ -e $reason ]] || continue
    say "missing: ${reason##*/}: $(<"$reason")"
    [[ ${reason##*/} == pulumi ]] || refused=true
done
if $refused && [[ ${CI:-} == true ]]; then
    say "with CI=true nothing but the Pulumi engine may be missing ($LOGS has what was said)"
    exit 1
fi
