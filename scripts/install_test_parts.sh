#!/usr/bin/env bash
# Real parts that the tests use and no wheel brings: Chromium. PostgreSQL is the system's, else a wheel's.
# Installs Debian packages where it may; otherwise says what is missing, and the tests that need it say so too.
set -euo pipefail

missing=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
((${#missing[@]})) || exit 0

if command -v apt-get >/dev/null && [[ $(id -u) == 0 ]]; then
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then
    sudo -n apt-get update -qq >/dev/null
    sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
    echo "missing: ${missing[*]}; the tests that need it will be skipped (install it by your system's package manager)"
fi
