#!/usr/bin/env bash
# make_venv.sh FOLDER LOCK: a virtual environment with exactly what a hashed lock says, by uv when it is there.
set -euo pipefail
folder=$1 lock=$2

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
        if [[ -n $candidate ]] && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    return 1
}

if ! python=$(find_python); then
    echo "No Python 3.11, 3.12 or 3.13 was found. Install one, or name it: PYTHON=/path/to/python3.12 make setup" >&2
    exit 1
fi
if [[ -x $folder/bin/python ]] && ! "$folder/bin/python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    rm -rf "$folder"     # its Python is gone or too old
fi
echo "installing $lock into $folder"
if command -v uv >/dev/null; then
    [[ -x $folder/bin/python ]] || uv venv --quiet --python "$python" "$folder"
    uv pip sync --quiet --require-hashes --compile-bytecode --python "$folder/bin/python" "$lock"
else
    [[ -x $folder/bin/python ]] || "$python" -m venv "$folder"
    "$folder/bin/python" -m pip --version >/dev/null 2>&1 || "$folder/bin/python" -m ensurepip --default-pip >/dev/null
    "$folder/bin/python" -m pip install --quiet --require-hashes --no-deps -r "$lock"
fi
