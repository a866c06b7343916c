"""What would keep a container from starting in a place, looked at beforehand: nothing is pulled, made or started.

`docker_runner.py` finds the same when it starts one; this is for those who can do something about it first.
"""

from __future__ import annotations

from collections.abc import Mapping

import docker.errors

from dagster_apollo.errors import ContainerError, Problem
from dagster_apollo.execution.container import ContainerPlace
from dagster_apollo.execution.docker_client import Engine
from dagster_apollo.execution.image_files import FILES_LABEL

_REMEDY = "Build it: `make images`."
_BUILT_IN = ("host", "none", "bridge")


def obstacle(place: ContainerPlace, environ: Mapping[str, str], made_of: str | None) -> ContainerError | None:
    """What is missing or out of date; None where a container would start.

    Args:
        place: where.
        environ: the variables of `docker`, which say which engine.
        made_of: the digest of the files that the image should have been built from; None: any will do.
    """
    try:
        with Engine(environ, place.without_engine) as engine:
            try:
                image = engine.client.api.inspect_image(place.image)
            except docker.errors.ImageNotFound:
                what = "there is no such image on the container engine"
                return ContainerError("no_image", Problem(place.image, what, _REMEDY))
            built_of = ((image.get("Config") or {}).get("Labels") or {}).get(FILES_LABEL)
            if made_of and built_of and built_of != made_of:
                what = f"was built from other files than those beside {place.declared_in}"
                return ContainerError("stale_image", Problem(place.image, what, _REMEDY))
            if place.network and place.network not in _BUILT_IN:
                try:
                    engine.client.api.inspect_network(place.network)
                except docker.errors.NotFound:
                    what = "there is no such network on the container engine"
                    return ContainerError("no_network", Problem(place.network, what, "Make it: `make images`."))
    except docker.errors.DockerException as error:
        return ContainerError("no_engine", Problem(place.image, f"cannot be looked for: {error}", place.without_engine))
    except ContainerError as error:
        return error
    return None
