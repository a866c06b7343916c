"""`compose.yaml`: the topology for somebody who has only Docker.

A pure function from the fork to text. The same topology goes to a Docker host by the Pulumi program in `infra/`; the
two are held to each other field by field. Format: https://docs.docker.com/reference/compose-file
"""

from __future__ import annotations

from typing import Any

import yaml

from dagster_apollo.fork import Fork
from dagster_apollo.topology import (
    CODE_PORT,
    DATABASE_NAME,
    DATABASE_PORT,
    DATABASE_USER,
    FULL_STAGE,
    HOST_STAGE,
    LOG_OPTIONS,
    RESTART,
    SECURITY_OPTIONS,
    WEBSERVER_PORT,
    HealthCheck,
    Service,
    Topology,
    Variable,
    labels,
    topology,
)

FILE = "compose.yaml"
# Tenants' own variables, apart from `.env`: what signs sessions and the database's password are none of theirs.
TENANTS_FILE = ".env.tenants"
_HEADER = """\
# The services on one Docker host. Written by `make generated` from apollo.toml and dagster_apollo/topology.py: edit
# those. Adding a tenant changes nothing here. Values come from `.env`, which `apollo init` makes; tenants' own
# variables come from `.env.tenants`. How it is used: docs/going-live.md.
"""
_NETWORK = "private"
_TLS_PORTS = (80, 443)
_INIT = "run `apollo init --docker-host` first, see docs/going-live.md"


def compose(fork: Fork) -> str:
    """The file's text."""
    services = topology(fork)
    content = {
        "name": fork.name,
        "services": {service.name: _service(service, services) for service in services.containers},
        "networks": {_NETWORK: {}},
        "volumes": {name: {} for service in services.containers for name in service.volumes or {}},
    }
    return _HEADER + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120)


def image_of(service: Service, fork: Fork) -> str:
    """A service's image: somebody else's, or ours by `.env`, or built here.

    What is built has a tag for each stage, and of the services with the same image one builds it: else each would, with
    an id of its own.
    """
    if service.image:
        return service.image
    if service.tenant_variables:
        return f"${{APOLLO_CODE_IMAGE:-${{APOLLO_IMAGE:-{fork.image}:local}}}}"
    return f"${{APOLLO_IMAGE:-{fork.image}:local-{HOST_STAGE}}}"


def _service(service: Service, services: Topology) -> dict[str, Any]:
    megabytes = f"{service.plan.memory_mb}m"
    content: dict[str, Any] = {
        "image": image_of(service, services.fork),
        "build": _build(service),
        "command": list(service.command),
        "user": service.user,
        "environment": {variable.name: _text(variable, services) for variable in service.variables},
        "env_file": [{"path": TENANTS_FILE, "required": False}] if service.tenant_variables else None,
        "depends_on": {name: {"condition": "service_healthy"} for name in service.depends_on},
        "ports": _published(service),
        "networks": [_NETWORK],
        "volumes": [f"{name}:{path}" for name, path in {**(service.volumes or {}), **(service.binds or {})}.items()],
        "tmpfs": list(service.tmpfs),
        "read_only": service.read_only,
        "cap_drop": ["ALL"],
        "cap_add": list(service.capabilities),
        "security_opt": list(SECURITY_OPTIONS),
        "mem_limit": megabytes,
        "memswap_limit": megabytes,  # the same: no swap
        "cpus": service.plan.cpus,
        "healthcheck": _healthcheck(service.health),
        "restart": RESTART,
        "stop_grace_period": f"{service.shutdown_seconds}s",
        "logging": {"driver": "json-file", "options": dict(LOG_OPTIONS)},
        "labels": labels(services.fork, service),
    }
    return {key: value for key, value in content.items() if value or value is False}


def _build(service: Service) -> dict[str, Any] | None:
    match service.role:
        case "code":
            # The manifests are made for the target that the code host then runs with.
            return {"context": ".", "target": FULL_STAGE, "args": {"DBT_TARGET": "${DBT_TARGET:-local}"}}
        case "webserver":
            return {"context": ".", "target": HOST_STAGE}
        case _:
            return None


def _text(variable: Variable, services: Topology) -> str:
    match variable.source:
        case "text":
            return variable.text or ""
        case "default":
            return f"${{{variable.name}:-{variable.text}}}"
        case "database_url":
            password = f"${{POSTGRES_PASSWORD:?{_INIT}}}"
            place = f"{services.database.name}:{DATABASE_PORT}/{DATABASE_NAME}"
            return f"postgresql://{DATABASE_USER}:{password}@{place}"
        case "address_of_code_host":
            return f"{services.code.name}:{CODE_PORT}"
        case "public_url":
            domain = services.fork.domain
            here = f"${{APOLLO_PUBLIC_URL:-http://127.0.0.1:${{PORT:-{WEBSERVER_PORT}}}}}"
            return f"https://{domain}" if domain else here
        case "generated" | "of_code_host":
            return f"${{{variable.name}:?{_INIT}}}"
        case "secret" if variable.name == "POSTGRES_PASSWORD":
            return f"${{{variable.name}:?{_INIT}}}"
        case "secret" | "access_file":
            return f"${{{variable.name}:-}}"


def _published(service: Service) -> list[str]:
    """On the host's loopback, unless the service is there to be reached by everybody."""
    if not service.public or service.port is None:
        return []
    if service.port in _TLS_PORTS:
        return [f"{port}:{port}" for port in _TLS_PORTS]
    return [f"127.0.0.1:${{PORT:-{WEBSERVER_PORT}}}:{service.port}"]


def _healthcheck(health: HealthCheck) -> dict[str, Any]:
    return {
        "test": ["CMD", *health.command],
        "interval": f"{health.interval_seconds}s",
        "timeout": f"{health.timeout_seconds}s",
        "start_period": f"{health.start_period_seconds}s",
        "retries": health.retries,
    }


class _Dumper(yaml.SafeDumper):
    """Without aliases: they would have to be looked up by whoever reads a service."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
