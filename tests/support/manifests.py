"""Small manifests in dbt's own form, by hand, for what no small project shows: odd names, collisions, circles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Node = dict[str, Any]


def node(kind: str, name: str, parents: Sequence[str] = (), *, package: str = "shop", **fields: Any) -> Node:
    """A model, seed, snapshot or test as dbt writes it, with `config` and other fields as given."""
    config = {"enabled": True, **({"materialized": "table"} if kind == "model" else {}), **fields.pop("config", {})}
    return {
        "unique_id": f"{kind}.{package}.{name}",
        "resource_type": kind,
        "name": name,
        "alias": name,
        "package_name": package,
        "path": f"{name}.sql",
        "original_file_path": f"{kind}s/{name}.sql",
        "fqn": [package, name],
        "database": "db",
        "schema": "main",
        "description": "",
        "meta": {},
        "tags": [],
        "columns": {},
        "checksum": {"name": "sha256", "checksum": "0"},
        "depends_on": {"nodes": list(parents)},
        **fields,
        "config": config,
    }


def source(name: str, *, source_name: str = "raw", package: str = "shop", **fields: Any) -> Node:
    """A table of a source."""
    return {
        "unique_id": f"source.{package}.{source_name}.{name}",
        "resource_type": "source",
        "name": name,
        "source_name": source_name,
        "identifier": name,
        "package_name": package,
        "path": "sources.yml",
        "original_file_path": "models/sources.yml",
        "fqn": [package, source_name, name],
        "database": "db",
        "schema": source_name,
        "description": "",
        "meta": {},
        "tags": [],
        "columns": {},
        "config": {"enabled": True},
        **fields,
    }


def unit_test(name: str, model: str, *, package: str = "shop", **fields: Any) -> Node:
    """A unit test of a model."""
    return {
        "unique_id": f"unit_test.{package}.{model}.{name}",
        "resource_type": "unit_test",
        "name": name,
        "model": model,
        "package_name": package,
        "path": "unit_tests.yml",
        "original_file_path": "models/unit_tests.yml",
        "fqn": [package, model, name],
        "schema": "main",
        "description": "",
        "depends_on": {"nodes": [f"model.{package}.{model}"]},
        "config": {"enabled": True, "meta": {}, "tags": []},
        **fields,
    }


def manifest(*parts: Node, adapter: str = "duckdb", groups: dict[str, Any] | None = None) -> dict[str, Any]:
    """dbt's manifest of these nodes, sources and unit tests."""

    def of(*kinds: str) -> dict[str, Node]:
        return {part["unique_id"]: part for part in parts if part["resource_type"] in kinds}

    return {
        "metadata": {"adapter_type": adapter, "dbt_version": "1.11.0", "project_name": "shop"},
        "nodes": of("model", "seed", "snapshot", "test", "analysis", "operation"),
        "sources": of("source"),
        "unit_tests": of("unit_test"),
        "groups": groups or {},
        "exposures": {},
        "metrics": {},
    }
