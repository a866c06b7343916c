"""One neutral form of a container, whether compose.yaml or the Pulumi program declares it.

Every key of either is taken into account or refused: what one of the two says and the other cannot is named here, with
the reason. So an equality of two such forms leaves out nothing that a container is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.pulumi_program import Declared, Program

# What only Compose says: how its images come about, which `make up` does by itself.
_COMPOSE_ALONE = {"build"}
# What only the provider has to be told: Compose's `up --wait` is the first two, and it never removes what runs.
_PULUMI_ALONE = {"wait": True, "mustRun": True}
_GO = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?")
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])((?:[^${}]|\$\{[^{}]*\})*))?\}")


@dataclass(frozen=True)
class Health:
    command: tuple[str, ...]
    interval_seconds: float
    timeout_seconds: float
    start_period_seconds: float
    retries: int


@dataclass(frozen=True)
class Published:
    address: str
    outside: int
    inside: int
    protocol: str


@dataclass(frozen=True)
class Container:
    """A container, with everything that it is declared to be."""

    image: str
    command: tuple[str, ...]
    user: str
    environment: Mapping[str, str]
    networks: Mapping[str, frozenset[str]]
    volumes: Mapping[str, str]  # by the volume's name, or the path on the host
    tmpfs: Mapping[str, str]
    read_only: bool
    capabilities_added: frozenset[str]
    capabilities_dropped: frozenset[str]
    security_options: frozenset[str]
    memory_mb: int
    memory_and_swap_mb: int
    cpus: float
    health: Health
    restart: str
    grace_seconds: float
    log_driver: str
    log_options: Mapping[str, str]
    labels: Mapping[str, str]
    published: frozenset[Published]
    after: frozenset[str]


def of_compose(text: str, given: Mapping[str, str], of_tenants: Mapping[str, str]) -> dict[str, Container]:
    """The containers of a compose file, as `docker compose up` would have them.

    Args:
        text: the file's.
        given: the variables of `.env`.
        of_tenants: those of `.env.tenants`, which a service takes by `env_file`.
    """
    file = yaml.safe_load(text)
    project, services = file.pop("name"), file.pop("services")
    assert file.pop("networks") == {"private": {}}
    assert all(options == {} for options in file.pop("volumes").values())
    assert file == {}, "keys of the file that nobody compares"
    return {
        name: _of_compose(name, project, _interpolated(service, given), of_tenants)
        for name, service in services.items()
    }


def of_pulumi(program: Program) -> dict[str, Container]:
    """The containers of a program."""
    return {name: _of_pulumi(resource, program) for name, resource in program.containers.items()}


def _of_compose(name: str, project: str, service: dict[str, Any], of_tenants: Mapping[str, str]) -> Container:
    health, logging = service.pop("healthcheck"), service.pop("logging")
    taken = service.pop("env_file", None)
    assert taken in (None, [{"path": ".env.tenants", "required": False}])
    conditions = service.pop("depends_on", {})
    assert all(condition == {"condition": "service_healthy"} for condition in conditions.values())
    for key in _COMPOSE_ALONE:
        service.pop(key, None)
    assert health["test"][0] == "CMD"
    container = Container(
        image=service.pop("image"),
        command=tuple(service.pop("command", [])),
        user=service.pop("user", ""),
        environment={**(of_tenants if taken else {}), **service.pop("environment", {})},
        # Compose makes a service's name its alias in each of its networks.
        networks={f"{project}_{network}": frozenset({name}) for network in service.pop("networks")},
        volumes={
            volume if volume.startswith("/") else f"{project}_{volume}": path
            for volume, path in (text.split(":") for text in service.pop("volumes", []))
        },
        tmpfs={path: options for path, _, options in (text.partition(":") for text in service.pop("tmpfs", []))},
        read_only=service.pop("read_only"),
        capabilities_added=frozenset(service.pop("cap_add", [])),
        capabilities_dropped=frozenset(service.pop("cap_drop")),
        security_options=frozenset(service.pop("security_opt")),
        memory_mb=_megabytes(service.pop("mem_limit")),
        memory_and_swap_mb=_megabytes(service.pop("memswap_limit")),
        cpus=float(service.pop("cpus")),
        health=Health(
            tuple(health.pop("test")[1:]),
            seconds_of(health.pop("interval")),
            seconds_of(health.pop("timeout")),
            seconds_of(health.pop("start_period")),
            health.pop("retries"),
        ),
        restart=service.pop("restart"),
        grace_seconds=seconds_of(service.pop("stop_grace_period")),
        log_driver=logging.pop("driver"),
        log_options=logging.pop("options"),
        labels=service.pop("labels"),
        published=frozenset(_published(text) for text in service.pop("ports", [])),
        after=frozenset(conditions),
    )
    assert (service, health, logging) == ({}, {}, {}), f"keys of {name} that nobody compares"
    return container


def _of_pulumi(resource: Declared, program: Program) -> Container:
    given = dict(resource.inputs)
    health, capabilities = dict(given.pop("healthcheck")), dict(given.pop("capabilities"))
    networks, volumes, ports = given.pop("networksAdvanced"), given.pop("volumes", []), given.pop("ports", [])
    labels = given.pop("labels")
    assert {tuple(sorted(each)) for each in networks} <= {("aliases", "name")}
    assert {tuple(sorted(each)) for each in volumes} <= {("containerPath", "volumeName"), ("containerPath", "hostPath")}
    assert {tuple(sorted(each)) for each in ports} <= {("external", "internal", "ip")}
    assert {tuple(sorted(each)) for each in labels} <= {("label", "value")}
    for key, value in _PULUMI_ALONE.items():
        assert given.pop(key) is value
    given.pop("waitTimeout")  # how long `pulumi up` waits, as `--wait-timeout` of Compose's
    texts = {label["label"]: label["value"] for label in labels}
    # Compose forms a name of project, service and a number; ours has no number.
    assert given.pop("name") == f"{texts['dagster-apollo.fork']}-{resource.name}"
    container = Container(
        image=given.pop("image").removeprefix("id of "),
        command=tuple(given.pop("command", [])),
        user=given.pop("user", ""),
        environment=dict(text.split("=", 1) for text in given.pop("envs", [])),
        networks={each["name"]: frozenset(each["aliases"]) for each in networks},
        volumes={each.get("volumeName") or each["hostPath"]: each["containerPath"] for each in volumes},
        tmpfs=given.pop("tmpfs", {}),
        read_only=given.pop("readOnly"),
        capabilities_added=frozenset(name.removeprefix("CAP_") for name in capabilities.pop("adds", [])),
        capabilities_dropped=frozenset(capabilities.pop("drops")),
        security_options=frozenset(given.pop("securityOpts")),
        memory_mb=int(given.pop("memory")),
        memory_and_swap_mb=int(given.pop("memorySwap")),
        cpus=float(given.pop("cpus")),
        health=Health(
            tuple(_after_cmd(health.pop("tests"))),
            seconds_of(health.pop("interval")),
            seconds_of(health.pop("timeout")),
            seconds_of(health.pop("startPeriod")),
            int(health.pop("retries")),
        ),
        restart=given.pop("restart"),
        grace_seconds=given.pop("destroyGraceSeconds"),
        log_driver=given.pop("logDriver"),
        log_options=given.pop("logOpts"),
        labels=texts,
        published=frozenset(
            Published(each["ip"], int(each["external"]), int(each["internal"]), "tcp") for each in ports
        ),
        after=frozenset(resource.options["dependencies"]) & frozenset(program.containers),
    )
    assert (given, health, capabilities) == ({}, {}, {}), f"inputs of {resource.name} that nobody compares"
    return container


def _interpolated(value: Any, given: Mapping[str, str]) -> Any:
    """A value of a compose file with its variables put in; `:-` is for what is unset or empty, `:?` refuses that."""
    if isinstance(value, dict):
        return {key: _interpolated(entry, given) for key, entry in value.items()}
    if isinstance(value, list):
        return [_interpolated(entry, given) for entry in value]
    if not isinstance(value, str):
        return value

    def text_of(found: re.Match[str]) -> str:
        name, rule, other = found.groups()
        assert rule != "?" or given.get(name), f"{name} has to be set"
        return given.get(name) or str(_interpolated(other or "", given))

    return _VARIABLE.sub(text_of, value)


def _after_cmd(words: list[str]) -> list[str]:
    assert words[0] == "CMD"
    return words[1:]


def seconds_of(text: str) -> float:
    """Seconds of a duration as Go and Compose write one."""
    if text.endswith("ms"):
        return float(text.removesuffix("ms")) / 1000
    parts = _GO.fullmatch(text)
    assert parts is not None, f"{text} is no duration"
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds


def _megabytes(text: str) -> int:
    assert text.endswith("m"), f"{text} is not in megabytes"
    return int(text.removesuffix("m"))


def _published(text: str) -> Published:
    *address, outside, inside = text.split(":")
    return Published(address[0] if address else "0.0.0.0", int(outside), int(inside), "tcp")
