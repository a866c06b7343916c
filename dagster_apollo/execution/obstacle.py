"""What would keep a container from starting in a place, looked at beforehand: nothing is pulled, made or started.

What is looked at is `docker_prerequisites.py`'s; this is for those who can do something about it before a run does.
"""

from __future__ import annotations

from collections.abc import Mapping

import docker.errors

from dagster_apollo.errors import ContainerError, Problem
from dagster_apollo.execution.container import ContainerPlace
from dagster_apollo.execution.docker_client import Engine
from dagster_apollo.execution.docker_prerequisites import BUILD_REMEDY, compared, known_image, require_network


def obstacle(place: ContainerPlace, environ: Mapping[str, str], made_of: str | None) -> ContainerError | None:
    """What is missing or out of date; None where a container would start.

    Args:
        place: where.
        environ: the variables of `docker`, which say which engine.
        made_of: the digest of the files that the image should have been built from; None: any will do.
    """
    try:
        with Engine(environ, place.without_engine) as engine:
            image = known_image(engine, place.image)
            if image is None:
                what = "there is no such image on the container engine"
                return ContainerError("no_image", Problem(place.image, what, BUILD_REMEDY))
            compared(image, place, made_of)
            require_network(engine, place)
    except docker.errors.DockerException as error:
        return ContainerError("no_engine", Problem(place.image, f"cannot be looked for: {error}", place.without_engine))
    except ContainerError as error:
        return error
    return None
