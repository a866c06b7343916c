"""What the Pulumi program declares, brought up on a real container engine without Pulumi: a container for a container.

It stands in for the provider where that cannot be had, and asks the engine's API for what the provider asks it for:
network and volumes, then each container, healthy before the next. Every input of a container is passed on, or refused;
what the provider finds at a second look is beyond it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.container_engine import ContainerEngine
from tests.support.containers_declared import seconds_of
from tests.support.pulumi_program import NETWORK, Declared, Program

_MEBIBYTE, _NANO = 1024 * 1024, 1_000_000_000
_DEFAULT_SOCKET = "unix:///var/run/docker.sock"


@contextmanager
def brought_up(program: Program, engine: ContainerEngine) -> Iterator[None]:
    """Everything that a program declared, healthy; gone afterwards, volumes and all."""
    networks = [each.inputs["name"] for each in program.of(NETWORK).values()]
    volumes = [each.inputs["name"] for each in program.volumes.values()]
    try:
        for network in networks:
            engine.docker("network", "create", network)
        for volume in volumes:
            engine.docker("volume", "create", volume)
        for container in program.containers.values():
            create(container, engine)
        yield
    finally:
        for container in reversed(program.containers.values()):
            engine.run(["rm", "--force", "--volumes", container.inputs["name"]])
        for volume in volumes:
            engine.run(["volume", "rm", volume])
        for network in networks:
            engine.run(["network", "rm", network])


def create(container: Declared, engine: ContainerEngine) -> None:
    """Make a container, start it and wait until it is healthy."""
    name = container.inputs["name"]
    host = engine.environ.get("DOCKER_HOST", _DEFAULT_SOCKET)
    assert host.startswith("unix://"), f"{host} is no socket of this machine"
    with httpx.Client(transport=httpx.HTTPTransport(uds=host.removeprefix("unix://")), timeout=120) as client:
        answer = client.post("http://engine/containers/create", params={"name": name}, json=_body(container))
        assert answer.status_code == 201, answer.text
    engine.docker("start", name)
    _wait(container, engine)


def replace(container: Declared, engine: ContainerEngine) -> None:
    """Delete a container, after its grace, and make it anew: what the provider does with one that changed."""
    name = container.inputs["name"]
    engine.docker("stop", "--time", f"{container.inputs['destroyGraceSeconds']:.0f}", name)
    engine.docker("rm", name)
    create(container, engine)


def _body(container: Declared) -> dict[str, Any]:
    """The request that makes the container: https://docs.docker.com/reference/api/engine/version/v1.45/."""
    given = dict(container.inputs)
    for key in ("name", "wait", "waitTimeout", "mustRun", "destroyGraceSeconds"):  # what is done, not what is made
        given.pop(key)
    [network], ports = given.pop("networksAdvanced"), given.pop("ports", [])
    capabilities, health = dict(given.pop("capabilities")), given.pop("healthcheck")
    body = {
        "Image": given.pop("image").removeprefix("id of "),
        "Cmd": given.pop("command", None),
        "User": given.pop("user", ""),
        "Env": given.pop("envs", []),
        "Labels": {each["label"]: each["value"] for each in given.pop("labels")},
        "Healthcheck": _health(health),
        "ExposedPorts": {f"{port['internal']:.0f}/tcp": {} for port in ports},
        "NetworkingConfig": {"EndpointsConfig": {network["name"]: {"Aliases": network["aliases"]}}},
        "HostConfig": {
            "NetworkMode": network["name"],
            "Binds": [
                f"{each.get('volumeName') or each['hostPath']}:{each['containerPath']}"
                for each in given.pop("volumes", [])
            ],
            "Tmpfs": given.pop("tmpfs", {}),
            "ReadonlyRootfs": given.pop("readOnly"),
            "CapAdd": capabilities.pop("adds", []),
            "CapDrop": capabilities.pop("drops"),
            "SecurityOpt": given.pop("securityOpts"),
            "Memory": int(given.pop("memory")) * _MEBIBYTE,
            "MemorySwap": int(given.pop("memorySwap")) * _MEBIBYTE,
            "NanoCpus": int(float(given.pop("cpus")) * _NANO),
            "RestartPolicy": {"Name": given.pop("restart")},
            "LogConfig": {"Type": given.pop("logDriver"), "Config": given.pop("logOpts")},
            "PortBindings": _bindings(ports),
        },
    }
    assert (given, capabilities) == ({}, {}), "inputs that no container would get"
    return body


def _health(health: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Test": health["tests"],
        "Interval": int(seconds_of(health["interval"]) * _NANO),
        "Timeout": int(seconds_of(health["timeout"]) * _NANO),
        "StartPeriod": int(seconds_of(health["startPeriod"]) * _NANO),
        "Retries": int(health["retries"]),
    }


def _bindings(ports: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        f"{port['internal']:.0f}/tcp": [{"HostIp": port["ip"], "HostPort": f"{port['external']:.0f}"}] for port in ports
    }


def _wait(container: Declared, engine: ContainerEngine) -> None:
    name = container.inputs["name"]
    end = time.monotonic() + float(container.inputs["waitTimeout"])
    while (state := engine.docker("inspect", "--format", "{{.State.Health.Status}}", name)) != "healthy":
        if time.monotonic() > end or state == "unhealthy":
            log = engine.run(["logs", "--tail", "40", name])
            raise AssertionError(f"{name} is {state}:\n{log.stdout}{log.stderr}")
        time.sleep(0.5)
