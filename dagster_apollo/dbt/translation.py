"""How a tenant's dbt nodes are named and described as Dagster assets.

Keys are `[tenant, …dbt's own]`, groups, owners, tags, descriptions and columns are dbt's. What Dagster would refuse
is respelt, and two nodes that dbt's defaults give one key get two. Selecting and running is `assets.py`.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings

from dagster_apollo.dbt.dagster_dbt_internals import (
    default_asset_key_fn,
    default_owners_from_dbt_resource_props,
    group_from_dbt_resource_props_fallback_to_directory,
)
from dagster_apollo.dbt.manifest import dagster_name, is_asset

# Who keeps the plain key when several would have it: what others are built from first.
_PRECEDENCE = ("model", "snapshot", "seed", "source")
_PLURALS = {"seed": "seeds", "snapshot": "snapshots", "source": "sources"}


class TenantTranslator(DagsterDbtTranslator):
    """Names the nodes of one tenant's manifest.

    Args:
        tenant: the tenant's id, the first part of every key.
        manifest: the slim manifest that will be translated.
        owner: who owns what dbt gives no owner.
    """

    def __init__(self, tenant: str, manifest: Mapping[str, Any], owner: str | None = None) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_source_tests_as_checks=True))
        self._owner = owner
        self._keys = asset_keys(tenant, manifest)

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """`[tenant, …dbt's own]`."""
        return self._keys[dbt_resource_props["unique_id"]]

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """dbt's group, else the folder under `models/`, else the kind of node."""
        kind = dbt_resource_props["resource_type"]
        group = group_from_dbt_resource_props_fallback_to_directory(dbt_resource_props) if kind == "model" else None
        named = group or dbt_resource_props["config"].get("group") or _PLURALS.get(kind)
        return dagster_name(named) if named else None

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """dbt's, without the SQL: that is metadata of each run, compiled."""
        return dbt_resource_props["description"] or f"dbt {dbt_resource_props['resource_type']}"

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str] | None:
        """dbt's, as far as Dagster takes them: an address, or else a team of that name."""
        named = default_owners_from_dbt_resource_props(dbt_resource_props)
        if not named and isinstance(group := dbt_resource_props.get("group"), Mapping):
            owner = group.get("owner", {}).get("name")
            named = [owner] if owner else None
        return [_owner(name) for name in named] if named else [self._owner] if self._owner else None


def _owner(name: str) -> str:
    if name.startswith("team:") or re.fullmatch(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}", name):
        return name
    return f"team:{re.sub(r'[^A-Za-z0-9_.-]', '-', name)}"


def asset_keys(tenant: str, manifest: Mapping[str, Any]) -> dict[str, dg.AssetKey]:
    """A key for every asset and source, no two alike, even where Dagster's output names fold them."""
    claims: dict[str, list[tuple[str, list[str]]]] = defaultdict(list)
    for unique_id, node in {**manifest["nodes"], **manifest["sources"]}.items():
        if is_asset(node) or node["resource_type"] == "source":
            parts = [tenant, *(dagster_name(part) for part in default_asset_key_fn(node).path)]
            claims["__".join(parts).lower()].append((unique_id, parts))
    keys: dict[str, dg.AssetKey] = {}
    for contenders in claims.values():
        contenders.sort(key=lambda claim: (_PRECEDENCE.index(claim[0].split(".")[0]), claim[0]))
        for place, (unique_id, parts) in enumerate(contenders):
            if place:
                kind, package = unique_id.split(".")[:2]
                kinds = [other for other, _ in contenders if other.startswith(f"{kind}.")]
                suffix = kind if len(kinds) == 1 else f"{kind}_{dagster_name(package)}"
                parts = [*parts[:-1], f"{parts[-1]}_{suffix}"]
                if "__".join(parts).lower() in claims or dg.AssetKey(parts) in keys.values():
                    parts = [*parts[:-1], f"{parts[-1]}_{hashlib.sha256(unique_id.encode()).hexdigest()[:8]}"]
            keys[unique_id] = dg.AssetKey(parts)
    return keys
