#!/usr/bin/env bash
# make_images.sh [TENANT...]: build the image of every tenant (or of these) that has a Dockerfile and names an image in
# its tenant.yaml, and make the networks that their containers are attached to.
#
# Each image is labelled with the digest of the files that it is built from: a run says when the folder has others.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
docker version >/dev/null 2>&1 || { echo "no container engine answers: start Docker; \`docker info\` must work" >&2; exit 1; }
# Folder, image, network (or -) and label, a line a tenant: read whole first, so that a mistake in one builds none.
wanted=$("$python" -m dagster_apollo.execution.images "$@")
while IFS=$'\t' read -r folder image network label; do
    [[ -n $folder ]] || continue
    if [[ $network != - ]] && ! docker network inspect "$network" >/dev/null 2>&1; then
        docker network create "$network" >/dev/null
        echo "network $network"
    fi
    docker build --quiet --tag "$image" --label "$label" "$folder" >/dev/null </dev/null
    echo "image $image: built from $folder"
done <<<"$wanted"
