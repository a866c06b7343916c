#!/usr/bin/env bash
# install_package.sh VENV: this repository's own package into its environment, editable, with no other build tool than
# the locked one.
set -euo pipefail
if command -v uv >/dev/null; then
    uv pip install --quiet --no-deps --no-build-isolation --python "$1/bin/python" --editable .
else
    "$1/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
fi
