"""The address by which containers reach a server of this machine."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import docker.errors

from dagster_apollo.errors import ContainerError
from dagster_apollo.execution.container import ContainerPlace
from dagster_apollo.execution.docker_client import Engine


def gateway(place: ContainerPlace, environ: Mapping[str, str]) -> str | None:
    """The address of this machine in the network of a place, which is made where it is missing.

    None where no engine answers, and where the engine's networks end in another machine, as with Docker Desktop.

    Args:
        place: where the containers run.
        environ: the variables of `docker`, which say which engine.
    """
    try:
        with Engine(environ, place.without_engine) as engine:
            name = place.network or "bridge"
            try:
                network = engine.client.networks.get(name)
            except docker.errors.NotFound:
                network = engine.client.networks.create(name)
                network.reload()
            configured = (network.attrs.get("IPAM") or {}).get("Config") or []
    except (ContainerError, docker.errors.DockerException):
        return None  # told where a container is started
    addresses = [entry["Gateway"] for entry in configured if "Gateway" in entry]
    return next((address for address in addresses if _is_here(address)), None)


def _is_here(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
