"""What one tenant's process loads; one with a server of its own as `dagster api grpc -m` of this module.

The environment that the process was started with is the tenant's own (`environment.for_tenant`); nothing else is
read, no `.env` either. Whatever is wrong is raised from here and becomes the location's load error in the UI.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import dagster as dg

from dagster_apollo.code_host.crossings import recorded_crossings
from dagster_apollo.dbt.preparation import load_prepared, prepare
from dagster_apollo.dbt.workspace import Places, open_workspace, repository_root
from dagster_apollo.definitions import tenant_definitions
from dagster_apollo.errors import Problem, TenantError
from dagster_apollo.host.role import BAKING_VARIABLE, LOCATION_VARIABLE, REFUSED_VARIABLE, TENANT_VARIABLE
from dagster_apollo.locations import group_of
from dagster_apollo.shares import share_of


@dg.definitions
def location() -> dg.Definitions:
    """The definitions of the tenant that APOLLO_TENANT names."""
    return load(dict(os.environ))  # a copy: while the tenant's Python is imported, the environment is replaced by it


def load(environ: Mapping[str, str]) -> dg.Definitions:
    """One tenant's definitions, or those of one of its locations, as its process sees them.

    On `local` a folder that changed is prepared again, so that a reload shows it; elsewhere a missing manifest is an
    error that names the command.

    Raises:
        ProblemsError: with everything that keeps the tenant from being served.
    """
    name = environ[TENANT_VARIABLE]
    places = Places.find(environ, repository_root())
    if refused := json.loads(environ.get(REFUSED_VARIABLE) or "[]"):
        raise TenantError([Problem(**entry) for entry in refused], f"the tenant {name} cannot be served")
    # Settings and key come first: they are checked before anything else is loaded.
    workspace = open_workspace(environ, places, name, parse_only=BAKING_VARIABLE in environ)
    if workspace.values.target == "local" and BAKING_VARIABLE not in environ:
        prepare(workspace)
    if problems := recorded_crossings(workspace):
        raise TenantError(problems, f"the tenant {name} cannot be served")
    whole = tenant_definitions(workspace, load_prepared(workspace), environ, places.state_dir / "outputs")
    return share_of(whole, workspace.tenant, group_of(environ.get(LOCATION_VARIABLE, name)))
