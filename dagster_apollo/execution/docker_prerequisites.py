"""What a container needs on the engine before it can be made: its image, pulled where that is allowed, and its network.

Each that is missing is an error of its own kind. Looking without pulling anything is `obstacle.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import docker.errors

from dagster_apollo.errors import ContainerError, Problem
from dagster_apollo.execution.container import ContainerPlace
from dagster_apollo.execution.docker_client import Engine
from dagster_apollo.execution.image_files import FILES_LABEL

BUILD_REMEDY = "Build it: `make images`."


def required_image(engine: Engine, place: ContainerPlace) -> Mapping[str, Any]:
    """Have the image there; what the engine knows of it."""
    image = None if place.pull == "ALWAYS" else known_image(engine, place.image)
    if image is None and place.pull == "NEVER":
        what = "there is no such image on the container engine, and `pull: NEVER` forbids to fetch it"
        raise ContainerError("no_image", Problem(place.image, what, BUILD_REMEDY))
    if image is None:
        remedy = f"{BUILD_REMEDY} Or check its name, and `docker login` where it is private."
        with engine.refusals("pull_refused", f"{place.image}: cannot be pulled", remedy):
            engine.client.images.pull(place.image)
        image = known_image(engine, place.image)
    return image or {}


def compared(image: Mapping[str, Any], place: ContainerPlace, made_of: str | None) -> tuple[str, ...]:
    """Hold an image to the files that it should be of; what cannot be told, in words."""
    built_of = ((image.get("Config") or {}).get("Labels") or {}).get(FILES_LABEL)
    if made_of and not built_of:
        return (f"{place.image} does not say which files it was built from, so nobody knows whether it is current",)
    if made_of and built_of != made_of:
        what = f"was built from other files than those beside {place.declared_in}"
        raise ContainerError("stale_image", Problem(place.image, what, "Build it again: `make images`."))
    return ()


def known_image(engine: Engine, name: str) -> Mapping[str, Any] | None:
    """What the engine knows of an image; None where it has none of that name."""
    with engine.refusals("no_image", name, BUILD_REMEDY):
        try:
            image: Mapping[str, Any] = engine.client.api.inspect_image(name)
        except docker.errors.ImageNotFound:
            return None
    return image


def require_network(engine: Engine, place: ContainerPlace) -> None:
    """Refuse a network that is not there: it is made with others in mind, and not by a run."""
    if not place.network or place.network in ("host", "none", "bridge"):
        return
    remedy = f"Make it: `docker network create {place.network}`, or `make images`, which makes those of all tenants."
    with engine.refusals("no_network", place.network, remedy):
        try:
            engine.client.api.inspect_network(place.network)
        except docker.errors.NotFound:
            what = "there is no such network on the container engine"
            raise ContainerError("no_network", Problem(place.network, what, remedy)) from None
