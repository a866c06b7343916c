"""How a tenant's dbt nodes are named and described as Dagster assets.

Keys are `[tenant, …dbt's own]`, groups, owners, tags, descriptions and columns are dbt's. What Dagster would refuse
is respelt, and two nodes that dbt's defaults give one key get two. Selecting and running is `assets.py`.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject

from dagster_apollo.dbt.automation import Automation, automation_condition
from dagster_apollo.dbt.dagster_dbt_internals import (
    default_asset_key_fn,
    default_owners_from_dbt_resource_props,
    group_from_dbt_resource_props_fallback_to_directory,
)
from dagster_apollo.dbt.manifest import dagster_name, is_asset
from dagster_apollo.errors import ApolloError, Problem, TenantError
from dagster_apollo.tenant import OWNER

# The check that stands for `dbt source freshness`: no test has this name.
FRESHNESS_CHECK = "source_freshness"
# Who keeps the plain key when several would have it: what others are built from first.
_PRECEDENCE = ("model", "snapshot", "seed", "source")
_PLURALS = {"seed": "seeds", "snapshot": "snapshots", "source": "sources"}


class TenantTranslator(DagsterDbtTranslator):
    """Names the nodes of one tenant's manifest.

    Args:
        tenant: the tenant's id, the first part of every key.
        manifest: the slim manifest that will be translated.
        owner: who owns what dbt gives no owner.
        automation: the condition by which models and snapshots follow what they are built from.
        groups: the group of what carries a tag, by tag; the first of them counts.
        partitions: the partitions of what has them, by unique id.
    """

    def __init__(
        self,
        tenant: str,
        manifest: Mapping[str, Any],
        owner: str | None = None,
        automation: Automation | None = None,
        groups: Mapping[str, str] | None = None,
        partitions: Mapping[str, dg.PartitionsDefinition[str]] | None = None,
    ) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_source_tests_as_checks=True))
        self._tenant = tenant
        self._owner = owner
        self._automation = automation
        self._groups = groups or {}
        self._partitions = partitions or {}
        self._keys = asset_keys(tenant, manifest)
        _tell_checks_apart(manifest, self._keys)

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """dagster-dbt's, or an error that names the node."""
        with _naming(self._tenant, self.get_resource_props(manifest, unique_id)):
            return super().get_asset_spec(manifest, unique_id, project)

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """`[tenant, …dbt's own]`."""
        return self._keys[dbt_resource_props["unique_id"]]

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """The tenant's own by tag, else dbt's, else the folder under `models/`, else the kind of node."""
        carried = dbt_resource_props.get("tags") or []
        if ours := next((group for tag, group in self._groups.items() if tag in carried), None):
            return ours
        kind = dbt_resource_props["resource_type"]
        group = group_from_dbt_resource_props_fallback_to_directory(dbt_resource_props) if kind == "model" else None
        named = group or dbt_resource_props["config"].get("group") or _PLURALS.get(kind)
        return dagster_name(named) if named else None

    def get_partitions_def(self, dbt_resource_props: Mapping[str, Any]) -> dg.PartitionsDefinition[str] | None:
        """The tenant's days, for what its `partitions` selects."""
        return self._partitions.get(dbt_resource_props["unique_id"])

    def get_automation_condition(self, dbt_resource_props: Mapping[str, Any]) -> dg.AutomationCondition[Any] | None:
        """The tenant's `automation`; nothing upstream of a seed could be followed, and a source is not built here."""
        if self._automation and dbt_resource_props["resource_type"] in ("model", "snapshot"):
            return automation_condition(self._automation)
        return None

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
    if re.fullmatch(OWNER, name):
        return name
    return f"team:{re.sub(r'[^A-Za-z0-9_.-]', '-', name.removeprefix('team:'))}"


def one_line(error: BaseException | None) -> str:
    """An exception and what caused it, readable in one line."""
    told = []
    while error is not None:
        told.append(" ".join(f"{type(error).__name__}: {error}".split()))
        error = error.__cause__
    return "; ".join(told)[:1500]


@contextmanager
def _naming(tenant: str, node: Mapping[str, Any]) -> Iterator[None]:
    """Say of which node something cannot be read: what dbt lets pass as `meta` may be nothing that Dagster knows."""
    try:
        yield
    except ApolloError:
        raise
    except Exception as error:
        where = f"tenants/{tenant}: {node['original_file_path']}"
        what = f"what {node['resource_type']} {node['name']} says of itself is not for Dagster: {one_line(error)}"
        raise TenantError([Problem(where, what, "Mend its `meta: {dagster: …}`, owners or tags.")]) from error


def _tell_checks_apart(manifest: Mapping[str, Any], keys: Mapping[str, dg.AssetKey]) -> None:
    """Respell checks that an op would not know apart: `c` on the asset `a_b` has the output of `b_c` on `a`."""
    taken = {key.to_python_identifier() for key in keys.values()}
    for unique_id, node in sorted(manifest["nodes"].items()):
        if node["resource_type"] == "test" and node.get("attached_node"):
            key = keys[node["attached_node"]]
            if f"{key.to_python_identifier()}_{node['name']}" in taken or node["name"] == FRESHNESS_CHECK:
                node["name"] += f"_{hashlib.sha256(unique_id.encode()).hexdigest()[:8]}"
            taken.add(f"{key.to_python_identifier()}_{node['name']}")


def asset_keys(tenant: str, manifest: Mapping[str, Any]) -> dict[str, dg.AssetKey]:
    """A key for every asset and source, no two alike, even where Dagster's output names fold them."""
    claims: dict[str, list[tuple[str, list[str]]]] = defaultdict(list)
    for unique_id, node in {**manifest["nodes"], **manifest["sources"]}.items():
        if is_asset(node) or node["resource_type"] == "source":
            with _naming(tenant, node):
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
