"""What Render says of a `render.yaml` that it is asked to validate, and what its first sync makes of one."""

from __future__ import annotations

import json
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.support.fake_render.openapi import DATA
from tests.support.fake_render.world import OWNER, World, internal_name


def validate(text: bytes) -> dict[str, Any]:
    """The answer of `POST /blueprints/validate`."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = {"line": mark.line + 1, "column": mark.column + 1} if mark else {}
        return {"valid": False, "errors": [{"error": "the file is not valid YAML", **place}]}
    schema = json.loads((DATA / "render-blueprint.schema.json").read_text(encoding="utf-8"))
    errors = [
        {"path": _path(error.absolute_path), "error": error.message[:500]}
        for error in Draft202012Validator(schema).iter_errors(content)
    ]
    if errors:
        return {"valid": False, "errors": errors}
    plan = {
        name: [row["name"] for row in content.get(key, [])]
        for name, key in (("services", "services"), ("databases", "databases"), ("envGroups", "envVarGroups"))
    }
    return {"valid": True, "plan": {**plan, "totalActions": sum(map(len, plan.values()))}}


def _path(steps: Any) -> str:
    told = ""
    for step in steps:
        told += f"[{step}]" if isinstance(step, int) else f"{'.' if told else ''}{step}"
    return told


_TYPES: dict[str, Any] = {"web": "web_service", "pserv": "private_service", "worker": "background_worker"}


def apply(
    world: World, text: str, image: str, asked_for: dict[str, str], database_urls: dict[str, str], site_url: str
) -> None:
    """Create what a Blueprint declares, as its first sync does; first deploys are the caller's.

    Args:
        image: what stands in for the Blueprint's image: a tag of a registry that is not there.
        asked_for: what a person typed for the variables of `sync: false`.
        database_urls: the addresses of databases, by name.
        site_url: the public address of the web service.
    """
    told = validate(text.encode())
    if not told["valid"]:
        raise ValueError(told["errors"])
    content = yaml.safe_load(text)
    for row in content.get("envVarGroups", []):
        world.new_group({"name": row["name"], "ownerId": OWNER, "envVars": row["envVars"]})
    for row in content["services"]:
        service = world.add_service(
            row["name"],
            _TYPES[row["type"]],
            image,
            region=row["region"],
            plan=row["plan"],
            command=row.get("dockerCommand", ""),
            pre_deploy=row.get("preDeployCommand", ""),
            health_check=row.get("healthCheckPath", ""),
            shutdown_seconds=row.get("maxShutdownDelaySeconds", 30),
        )
        if row["type"] == "web":
            service.document["serviceDetails"]["url"] = site_url
        for entry in row.get("envVars", []):
            if "fromGroup" in entry:
                group = next(group for group in world.groups if group["name"] == entry["fromGroup"])
                world.link(group, service)
            else:
                value = _value(world, content, entry, asked_for, database_urls)
                if value is not None:
                    service.variables[entry["key"]] = value


def _value(
    world: World,
    content: dict[str, Any],
    entry: dict[str, Any],
    asked_for: dict[str, str],
    database_urls: dict[str, str],
) -> str | None:
    if "value" in entry:
        return str(entry["value"])
    if entry.get("generateValue"):
        return world.variable(entry)["value"]
    if "fromDatabase" in entry:
        return database_urls[entry["fromDatabase"]["name"]]
    if key := entry.get("fromService", {}).get("envVarKey"):  # of a service that stands before this one
        return world.service(entry["fromService"]["name"]).variables[key]
    if "fromService" in entry:  # `hostport`: the internal name has a suffix, and the port is that of PORT
        row = next(row for row in content["services"] if row["name"] == entry["fromService"]["name"])
        port = next(variable["value"] for variable in row["envVars"] if variable.get("key") == "PORT")
        return f"{internal_name(row['name'])}:{port}"
    return asked_for.get(entry["key"])
