"""The two images of a Docker host, built from the repository as it is: the stages of its Dockerfile.

An engine that has built them before has their layers; what costs is what changed since. They have names that no other
test knows: an image goes with its last name, and another test that builds the same content has the same image.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dagster_apollo.topology import FULL_STAGE, HOST_STAGE
from tests.support.container_engine import ContainerEngine

REPOSITORY = Path(__file__).parents[2]
BUILD_TIMEOUT_SECONDS = 1800.0


@dataclass(frozen=True)
class Images:
    """Their ids, `sha256:…`.

    Attributes:
        host: webserver's and daemon's: everything but the tenants.
        full: the code host's.
    """

    host: str
    full: str


@contextmanager
def built(engine: ContainerEngine, root: Path = REPOSITORY, revision: str = "") -> Iterator[Images]:
    """Build both, with manifests that are baked for the target `local`, and remove them afterwards; layers stay cached.

    Args:
        engine: where.
        root: the repository, or a fork of it.
        revision: what the code host's image says it was built from: another one is another image.
    """
    name = f"test.invalid/apollo/images-{uuid.uuid4().hex[:12]}"
    try:
        yield Images(
            _build(engine, root, HOST_STAGE, f"{name}:host"),
            _build(engine, root, FULL_STAGE, f"{name}:full", REVISION=revision),
        )
    finally:
        engine.run(["image", "rm", f"{name}:full", f"{name}:host"])


def _build(engine: ContainerEngine, root: Path, stage: str, tag: str, **arguments: str) -> str:
    given = {"DBT_TARGET": "local", **arguments}
    words = [word for name, text in given.items() for word in ("--build-arg", f"{name}={text}")]
    words = ["build", "--quiet", "--tag", tag, "--target", stage, *words, str(root)]
    return engine.docker(*words, timeout_seconds=BUILD_TIMEOUT_SECONDS)
