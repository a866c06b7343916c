"""Which tenants would write each other's tables, found once over all of them and left where each reads its own.

Only what starts the code locations sees all tenants; a location learns of the others nothing but this.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from dagster_apollo.dbt.preparation import load_prepared
from dagster_apollo.dbt.relations import crossings
from dagster_apollo.dbt.workspace import Workspace
from dagster_apollo.errors import ManifestError, Problem

_FILE = "crossings.json"


def find_crossings(workspaces: Iterable[Workspace]) -> dict[str, list[Problem]]:
    """What each tenant would share with another, by tenant; those without a manifest are left out."""
    manifests = {}
    for workspace in workspaces:
        try:
            manifests[workspace.tenant.name] = (workspace.profile.place, load_prepared(workspace))
        except ManifestError:
            continue
    return crossings(manifests)


def record_crossings(workspaces: Iterable[Workspace]) -> dict[str, list[Problem]]:
    """Find them, and leave each tenant's where its location finds them."""
    known = list(workspaces)
    found = find_crossings(known)
    for workspace in known:
        file = workspace.prepared_dir / _FILE
        if problems := found.get(workspace.tenant.name):
            file.write_bytes(orjson.dumps([problem.as_dict() for problem in problems]))
        else:
            file.unlink(missing_ok=True)
    return found


def recorded_crossings(workspace: Workspace) -> list[Problem]:
    """What was left for this tenant."""
    try:
        return [Problem(**entry) for entry in orjson.loads((workspace.prepared_dir / _FILE).read_bytes())]
    except FileNotFoundError:
        return []
