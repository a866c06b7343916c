"""`exclude` of `tenant.yaml`: what of a dbt project is left out of the definitions.

The manifest that definitions are made of is cut, so that nothing that reads it meets what was left out: assets,
checks, schedules, selections. dbt itself still knows all of the project.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dagster_apollo.dbt.dagster_dbt_internals import select_unique_ids
from dagster_apollo.dbt.translation import one_line
from dagster_apollo.errors import Problem, TenantError
from dagster_apollo.tenant import TENANT_FILE, Tenant

_SHOWN = 3


def without_excluded(tenant: Tenant, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The manifest without the nodes that the tenant leaves out, and without the tests that look at one of them.

    Args:
        tenant: whose.
        manifest: its slim manifest, which stays as it is.

    Raises:
        TenantError: dbt cannot read the selection, or something that stays is built from something that goes.
    """
    if not tenant.config.exclude:
        return manifest
    where = f"tenants/{tenant.name}/{TENANT_FILE}: exclude"
    try:
        selected = select_unique_ids(tenant.config.exclude, "", "", None, manifest)
    except Exception as error:
        remedy = "Give dbt's node selection: https://docs.getdbt.com/reference/node-selection/syntax"
        what = f"dbt cannot read {tenant.config.exclude!r}: {one_line(error)}"
        raise TenantError([Problem(where, what, remedy)]) from None
    nodes, sources = manifest["nodes"], manifest["sources"]
    # dbt adds to a selection of models the tests on them; which tests go is decided by what they look at.
    gone = {key for key in selected if (key in nodes and nodes[key]["resource_type"] != "test") or key in sources}
    gone |= {key for key, node in nodes.items() if node["resource_type"] == "test" and gone & _looked_at(node)}
    if problems := list(_built_from_what_goes(where, nodes, sources, gone)):
        raise TenantError(problems, f"the tenant {tenant.name} cannot be served")
    apollo = manifest["apollo"]
    return {
        **manifest,
        "nodes": _without(nodes, gone),
        "sources": _without(sources, gone),
        "parent_map": {key: _left(keys, gone) for key, keys in _without(manifest["parent_map"], gone).items()},
        "child_map": {key: _left(keys, gone) for key, keys in _without(manifest["child_map"], gone).items()},
        **{kind: _passages(manifest[kind], gone) for kind in ("metrics", "exposures")},
        "apollo": {
            **apollo,
            "filled_sources": {
                source: node for source, node in apollo["filled_sources"].items() if not {source, node} & gone
            },
            "seeds_first": _left(apollo["seeds_first"], gone),
            "unattached_tests": _left(apollo["unattached_tests"], gone),
            "excluded": sorted(gone),
        },
    }


def _looked_at(test: Mapping[str, Any]) -> set[str]:
    return {*test["depends_on"]["nodes"], *([test["attached_node"]] if test.get("attached_node") else [])}


def _built_from_what_goes(
    where: str, nodes: Mapping[str, Any], sources: Mapping[str, Any], gone: set[str]
) -> Iterable[Problem]:
    """Models that would be built by no run from something up to date, with an edge that nobody sees any more."""
    for key, node in nodes.items():
        parents = sorted(gone & set(node["depends_on"]["nodes"])) if key not in gone else []
        if parents:
            names = ", ".join((nodes.get(parent) or sources[parent])["name"] for parent in parents[:_SHOWN])
            what = f"leaves out {names}, which {node['name']} is built from"
            yield Problem(where, what, f"Leave out {node['name']} too (`{parents[0].split('.')[-1]}+`), or keep both.")


def _passages(passages: Mapping[str, Any], gone: set[str]) -> dict[str, Any]:
    return {
        key: {**passage, "depends_on": {"nodes": _left(passage["depends_on"]["nodes"], gone)}}
        for key, passage in passages.items()
    }


def _without(entries: Mapping[str, Any], gone: set[str]) -> dict[str, Any]:
    return {key: entry for key, entry in entries.items() if key not in gone}


def _left(keys: Iterable[str], gone: set[str]) -> list[str]:
    return [key for key in keys if key not in gone]
