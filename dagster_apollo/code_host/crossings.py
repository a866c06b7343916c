"""Which tenants would write each other's tables, found once over all of them and left where each reads its own.

Only what starts the code locations sees all tenants; a location learns of the others nothing but this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

import orjson

from dagster_apollo.dbt.preparation import load_prepared, replace_file
from dagster_apollo.dbt.relations import crossings
from dagster_apollo.dbt.workspace import Places, Workspace, open_workspace
from dagster_apollo.errors import ManifestError, Problem, ProblemsError
from dagster_apollo.tenant import tenant_names

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


def record_crossings(environ: Mapping[str, str], places: Places) -> dict[str, list[Problem]]:
    """Find them among all tenants that have a manifest, and leave each tenant's where its location finds them."""
    known = []
    for name in tenant_names(places.tenants_dir):
        with contextlib.suppress(ProblemsError):  # what is wrong with it is told where it is served
            known.append(open_workspace(environ, places, name))
    found = find_crossings(known)
    for workspace in known:
        file = workspace.prepared_dir / _FILE
        if problems := found.get(workspace.tenant.name):
            replace_file(file, orjson.dumps([problem.as_dict() for problem in problems]))
        else:
            file.unlink(missing_ok=True)
    return found


def recorded_crossings(workspace: Workspace) -> list[Problem]:
    """What was left for this tenant."""
    try:
        return [Problem(**entry) for entry in orjson.loads((workspace.prepared_dir / _FILE).read_bytes())]
    except FileNotFoundError:
        return []
