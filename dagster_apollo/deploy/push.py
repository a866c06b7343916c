"""The image that was built and tested, put into the fork's registry: the very bytes, and by which digest they are had.

Building is the Makefile's, deploying is `release.py`. Everything goes through the `docker` command and whatever login
to the registry it has.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from dagster_apollo.deploy.image import Image, digest_of
from dagster_apollo.errors import DeployError, Problem

_LAST_LINES = 5


def push(
    repository: str,
    image_id: str,
    tags: Sequence[str],
    archive: Path | None = None,
    *,
    first_tag: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Image:
    """Push an image.

    Args:
        repository: registry and path.
        image_id: its id in the engine that built it, `sha256:…`; nothing else is pushed.
        tags: under which it is found beside its digest, at least one.
        archive: what `docker save` wrote; None: the image is in this engine already.
        first_tag: one more, where the registry has no image under it yet.
        environ: what `docker` is given; None: what this process has.

    Raises:
        DeployError: the archive does not hold that image, or the registry did not take it.
    """
    docker = partial(_docker, environ)
    if archive is not None:
        docker("load", "--quiet", "--input", str(archive), failed=f"{archive} cannot be loaded")
    found = docker("image", "inspect", "--format", "{{.Id}}", image_id, failed=f"there is no image {image_id}").strip()
    if found != image_id:
        remedy = "Give the whole id that `make image` wrote."
        raise DeployError([Problem(image_id, f"is not an image's id; that one's is {found}", remedy)])

    def push_as(tag: str) -> None:
        name = f"{repository}:{tag}"
        docker("image", "tag", image_id, name, failed=f"{name} is not a name for an image")
        docker("image", "push", "--quiet", name, failed=f"{repository} does not take the image")

    for tag in tags:
        push_as(tag)
    if first_tag is not None and not _is_there(f"{repository}:{first_tag}", environ):
        push_as(first_tag)
    listed = docker("image", "inspect", "--format", "{{json .RepoDigests}}", image_id, failed="the image is gone")
    there = [name for name in json.loads(listed) or [] if name.partition("@")[0] == repository]
    digest = digest_of(there[0]) if len(there) == 1 else None
    if digest is None:
        what = f"docker names {len(there)} digests of the image there"
        raise DeployError([Problem(repository, what, "Push from an engine that has this image once.")])
    return Image(repository, digest)


def _is_there(name: str, environ: Mapping[str, str] | None) -> bool:
    try:
        _docker(environ, "buildx", "imagetools", "inspect", name, failed=f"{name} cannot be looked up")
    except DeployError as error:
        if "not found" in str(error):
            return False
        raise
    return True


def _docker(environ: Mapping[str, str] | None, *words: str, failed: str) -> str:
    try:
        ended = subprocess.run(["docker", *words], env=environ, capture_output=True, text=True, check=False)
    except OSError as error:
        remedy = "Install Docker, or put it on the PATH."
        raise DeployError([Problem("docker", f"cannot be run: {error.strerror}", remedy)]) from None
    if ended.returncode:
        said = " ".join(" ".join(ended.stderr.strip().splitlines()[-_LAST_LINES:]).split())
        remedy = "Is the image built, and is `docker login` done for the registry?"
        raise DeployError([Problem(f"docker {words[0]}", f"{failed}: {said}", remedy)])
    return ended.stdout
