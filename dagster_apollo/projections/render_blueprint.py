"""`render.yaml`: the topology as a Render Blueprint.

A pure function from the fork to text. What is particular to Render stands here: which field is allowed on which kind of
service, and where a value comes from there. Format: https://render.com/docs/blueprint-spec
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from dagster_apollo.fork import Fork
from dagster_apollo.topology import (
    IMAGE_TAG,
    POSTGRES_MAJOR,
    Role,
    Service,
    Topology,
    Variable,
    tenants_group,
    topology,
)

FILE = "render.yaml"
HEALTH_PATH = "/livez"
_HEADER = """\
# Render's Blueprint. Written by `make generated` from apollo.toml and dagster_apollo/topology.py: edit those.
# Adding a tenant changes nothing here. Render asks for what says `sync: false` once, when the Blueprint is created.
"""
_IN_THE_GROUP: Mapping[str, str] = {"DBT_TARGET": "prod"}
_TYPES: Mapping[Role, str] = {"webserver": "web", "code": "pserv", "daemon": "worker"}


def render_blueprint(fork: Fork) -> str:
    """The file's text."""
    services = topology(fork)
    content = {
        # Off at Render means the word; bare, YAML reads it as a boolean. The dumper quotes it.
        "previews": {"generation": "off"},
        "databases": [_database(services)],
        "envVarGroups": [
            # Tenants' own variables are added by `apollo secrets push`; what is not named here a sync leaves alone.
            {
                "name": tenants_group(fork),
                "envVars": [{"key": name, "value": value} for name, value in _IN_THE_GROUP.items()],
            }
        ],
        "services": [_service(service, services) for service in services.roles],
    }
    return _HEADER + yaml.safe_dump(content, sort_keys=False, width=120)


def _database(services: Topology) -> dict[str, Any]:
    variables = {variable.name: variable.text for variable in services.database.variables}
    return {
        "name": services.database.name,
        "databaseName": variables["POSTGRES_DB"],
        "user": variables["POSTGRES_USER"],
        "region": services.fork.region,
        "plan": services.fork.plans.database,
        "postgresMajorVersion": POSTGRES_MAJOR,
        "ipAllowList": [],  # inside the private network only; left out, it would be open to the internet
    }


def _service(service: Service, services: Topology) -> dict[str, Any]:
    fork, role = services.fork, service.role
    if role is None:
        raise ValueError(f"{service.name} runs no image of ours")
    image: dict[str, Any] = {"url": f"{fork.image}:{IMAGE_TAG}"}
    if fork.registry_credential:
        image["creds"] = {"fromRegistryCreds": {"name": fork.registry_credential}}
    return {
        "type": _TYPES[role],
        "name": service.name,
        "runtime": "image",
        "image": image,
        "region": fork.region,
        "plan": getattr(fork.plans, role),
        "dockerCommand": f"apollo {role}",
        **(_public(fork) if role == "webserver" else {}),
        # A deploy is the hook's alone: it names the digest that was tested.
        "autoDeployTrigger": "off",
        # Allowed since no service has a disk.
        "maxShutdownDelaySeconds": service.shutdown_seconds,
        "numInstances": 1,
        "envVars": [
            *(_variable(variable, services) for variable in service.variables if _is_declared(variable, services)),
            *([{"fromGroup": tenants_group(fork)}] if service.tenant_variables else []),
        ],
    }


def _public(fork: Fork) -> dict[str, Any]:
    domains = {"domains": [fork.domain]} if fork.domain else {}
    return {**domains, "healthCheckPath": HEALTH_PATH, "preDeployCommand": "apollo migrate"}


def _is_declared(variable: Variable, services: Topology) -> bool:
    """Not what stands in the group, nor what the webserver knows of Render: its own address, and its proxies."""
    if variable.source == "public_url":
        return services.fork.domain is not None
    return variable.name not in (*_IN_THE_GROUP, "APOLLO_TRUSTED_PROXIES")


def _variable(variable: Variable, services: Topology) -> dict[str, Any]:
    named = {"key": variable.name}
    match variable.source:
        case "text" | "default":
            return {**named, "value": variable.text}
        case "secret" | "access_file":
            return {**named, "sync": False}
        case "generated":
            return {**named, "generateValue": True}
        case "database_url":
            return {**named, "fromDatabase": {"name": services.database.name, "property": "connectionString"}}
        case "address_of_code_host":
            # Not its name: Render appends something to that where it is taken.
            code = {"type": _TYPES["code"], "name": services.code.name, "property": "hostport"}
            return {**named, "fromService": code}
        case "of_code_host":
            code = {"type": _TYPES["code"], "name": services.code.name, "envVarKey": variable.name}
            return {**named, "fromService": code}
        case "public_url":
            return {**named, "value": f"https://{services.fork.domain}"}
