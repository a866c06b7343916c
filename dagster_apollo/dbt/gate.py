"""The gate before a merge: `dbt deps && dbt parse` of a tenant for the laptop and for production, with no credentials.

It sees what a runner sees that was given nothing, on a laptop too: no setting, no tenant's variable, no secret. Whether
Dagster can serve what was parsed is `host/inspection.py`; a tenant's Python is not imported here.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dagster_apollo import environment
from dagster_apollo.dbt.preparation import load_prepared, prepare
from dagster_apollo.dbt.relations import schema_problems
from dagster_apollo.dbt.workspace import Places, open_workspace
from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.settings import LOOKS_SECRET

# `dev` differs from `prod` by where it connects to, which a parse does not.
TARGETS = ("local", "prod")


def pass_gate(environ: Mapping[str, str], places: Places, names: Sequence[str]) -> dict[str, list[Problem]]:
    """What keeps tenants from being merged.

    Args:
        environ: the variables of this process; those of the project and those that look secret are left out.
        places: the tenants' folder; what is made goes into a folder of its own that is removed.
        names: the tenants.

    Returns:
        The problems of each, those that both targets have once.
    """
    bare = without_credentials(environ)
    with tempfile.TemporaryDirectory(prefix="apollo-gate-") as folder:
        apart = Places(places.root, places.tenants_dir, Path(folder))
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            found = pool.map(lambda name: _parse(bare, apart, name), names)
            return dict(zip(names, found, strict=True))


def without_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a machine that was told nothing about any warehouse."""
    return {
        name: value for name, value in environment.for_nobody(environ).items() if not LOOKS_SECRET.search(name.upper())
    }


def _parse(bare: Mapping[str, str], places: Places, name: str) -> list[Problem]:
    problems: dict[Problem, None] = {}
    for target in TARGETS:
        try:
            workspace = open_workspace({**bare, "DBT_TARGET": target}, places, name, parse_only=True)
            prepare(workspace, force=True)
            found = schema_problems(name, load_prepared(workspace))
        except ProblemsError as error:
            found = list(error.problems)
        problems |= dict.fromkeys(found)
    return list(problems)
