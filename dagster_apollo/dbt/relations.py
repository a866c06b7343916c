"""The tables that tenants write: schemas that a project leaves to chance, and tables that two tenants both write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from dagster_apollo.dbt.manifest import is_asset, written_relations
from dagster_apollo.errors import Problem
from dagster_apollo.settings import prefix

_SHOWN = 3


def schema_problems(tenant: str, manifest: Mapping[str, Any]) -> list[Problem]:
    """Schemas that come out empty, or beginning with `_`, because the profile has none.

    dbt's own `generate_schema_name` puts the profile's schema and `_` before a custom one.
    """
    if manifest["metadata"]["adapter_type"] != "snowflake":
        return []
    wrong = sorted(
        node["name"]
        for node in manifest["nodes"].values()
        if is_asset(node) and (not node.get("schema") or node["schema"].startswith("_"))
    )
    if not wrong:
        return []
    names = ", ".join(wrong[:_SHOWN]) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")
    return [
        Problem(
            f"tenants/{tenant}",
            f"on Snowflake the schema of {names} comes out empty or beginning with `_`: the profile has none",
            "Give every model, seed and snapshot a `+schema`, with a macro `generate_schema_name` that takes it as it "
            f"is (copy the one of tenants/_template), or set {prefix(tenant)}DBT_SCHEMA.",
        )
    ]


def crossings(manifests: Mapping[str, tuple[str, Mapping[str, Any]]]) -> dict[str, list[Problem]]:
    """Tables that two tenants would both write, told to both; the last one to run would win.

    Args:
        manifests: by tenant, the place that it builds in and its slim manifest.
    """
    return shared_tables({name: (place, written_relations(manifest)) for name, (place, manifest) in manifests.items()})


def shared_tables(written: Mapping[str, tuple[str, Iterable[tuple[str, ...]]]]) -> dict[str, list[Problem]]:
    """The same, of tables alone.

    Args:
        written: by tenant, the place that it builds in and the tables that it writes there.
    """
    writers: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for tenant, (place, tables) in written.items():
        for table in tables:
            writers[place, *table].append(tenant)
    shared: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (_, *written_table), who in sorted(writers.items()):
        for tenant in who:
            for other in who:
                if other != tenant:
                    shared[tenant, other].append(".".join(written_table))
    problems: dict[str, list[Problem]] = defaultdict(list)
    for (tenant, other), both in shared.items():
        shown = ", ".join(both[:_SHOWN]) + (f" and {len(both) - _SHOWN} more" if len(both) > _SHOWN else "")
        problems[tenant].append(
            Problem(
                f"tenants/{tenant}",
                f"would write the same table as tenants/{other}: {shown}",
                "Give one of them a database or schemas of its own.",
            )
        )
    return problems
