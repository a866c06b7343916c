"""`apollo tenant check`: everything that keeps a tenant from being served, found without serving it.

A tenant's Python may do anything when it is imported, so each tenant is inspected in a process of its own, with that
tenant's environment: `python -m dagster_apollo.host.inspection TENANT RESULT_FILE`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from dagster_apollo import environment
from dagster_apollo.code_host.crossings import find_crossings
from dagster_apollo.dbt.preparation import load_prepared, prepare
from dagster_apollo.dbt.relations import schema_problems
from dagster_apollo.dbt.translation import one_line
from dagster_apollo.dbt.workspace import Places, Workspace, open_workspace, repository_root
from dagster_apollo.definitions import tenant_definitions
from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.settings import prefix
from dagster_apollo.shares import share_problems
from dagster_apollo.tenant import load_tenant, tenant_names

INSPECTION_TIMEOUT_SECONDS = 600.0


def inspect_tenants(environ: Mapping[str, str], places: Places, names: Sequence[str]) -> dict[str, list[Problem]]:
    """The problems of each tenant, its own first, then what it would do to another."""
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        own = list(pool.map(lambda name: _inspect_apart(environ, places, name), names))
    found = dict(zip(names, own, strict=True))
    for parse_only in (False, True):
        workspaces = _prepared(environ, places, parse_only=parse_only)
        for name, problems in find_crossings(workspaces).items():
            if name in found:
                found[name] += [problem for problem in problems if problem not in found[name]]
    return found


def inspect_tenant(environ: Mapping[str, str], places: Places, name: str) -> list[Problem]:
    """One tenant's own problems, in this process."""
    try:
        workspace = open_workspace(environ, places, name)
        prepare(workspace)
        manifest = load_prepared(workspace)
        definitions = tenant_definitions(workspace, manifest, environ)
        # With several locations, what each of them will serve: the whole may be what none of them can.
        shares = share_problems(definitions, workspace.tenant)
        if shares:
            return [*workspace.profile.notes, *shares]
        definitions.get_repository_def().load_all_definitions()
        notes = [
            Problem(
                f"tenants/{name}",
                f"the test {test_id.split('.')[2]} refers to no model or source, so it is no asset's check",
                "It runs, and fails the run, when all of the tenant is built.",
                "note",
            )
            for test_id in manifest["apollo"]["unattached_tests"]
        ]
        problems = [*workspace.profile.notes, *notes]
        if workspace.values.target == "local" and workspace.tenant.config.warehouse == "snowflake":
            problems += _as_in_production(environ, places, name)
    except ProblemsError as error:
        return list(error.problems)
    except Exception as error:
        what = f"Dagster cannot load it: {one_line(error)}"
        return [Problem(f"tenants/{name}", what, "Mend what the message names.")]
    return problems


def _as_in_production(environ: Mapping[str, str], places: Places, name: str) -> list[Problem]:
    """Names and schemas may depend on the target: they are looked at as `prod` will see them, with no connection."""
    workspace = open_workspace(_as_production(environ, name), places, name, parse_only=True)
    prepare(workspace)
    return schema_problems(name, load_prepared(workspace))


def _as_production(environ: Mapping[str, str], name: str) -> dict[str, str]:
    return {**environ, "DBT_TARGET": "prod", f"{prefix(name)}DBT_TARGET": "prod"}


def _prepared(environ: Mapping[str, str], places: Places, *, parse_only: bool) -> list[Workspace]:
    """All tenants that can be prepared, asked about or not: the other writer of a table may be any."""
    workspaces = []
    for name in tenant_names(places.tenants_dir):
        try:
            seen = _as_production(environ, name) if parse_only else environ
            if parse_only and load_tenant(places.tenants_dir, name).config.warehouse != "snowflake":
                continue
            workspace = open_workspace(seen, places, name, parse_only=parse_only)
            if workspace.values["SNOWFLAKE_ACCOUNT"] or workspace.values["SNOWFLAKE_DATABASE"] or not parse_only:
                workspaces.append(workspace)  # of those that name neither, nobody knows yet where they will build
        except ProblemsError:
            continue  # its own inspection says why
    on_a_warehouse = [workspace for workspace in workspaces if workspace.profile.adapter != "duckdb"]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        list(pool.map(_prepare_if_possible, on_a_warehouse))
    return on_a_warehouse


def _prepare_if_possible(workspace: Workspace) -> None:
    with contextlib.suppress(ProblemsError):  # without a manifest it is left out, and its own inspection says why
        prepare(workspace)


def _inspect_apart(environ: Mapping[str, str], places: Places, name: str) -> list[Problem]:
    own = environment.for_tenant(environ, name)
    own |= {"APOLLO_TENANTS_DIR": str(places.tenants_dir), "APOLLO_STATE_DIR": str(places.state_dir)}
    where = f"tenants/{name}/definitions.py"
    with tempfile.TemporaryDirectory(prefix="apollo-inspection-") as folder:
        result = Path(folder) / "problems.json"
        command = [sys.executable, "-m", __spec__.name, name, str(result)]
        try:
            ended = subprocess.run(
                command,
                env=own,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=INSPECTION_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            what = f"its inspection did not end within {INSPECTION_TIMEOUT_SECONDS:g} s"
            return [Problem(where, what, "Importing it must not wait for anything.")]
        if not result.exists():
            told = ended.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            what = f"ended the process that imported it (exit code {ended.returncode}): {told[0]}"
            return [Problem(where, what, "Importing it must only declare assets.")]
        return [Problem(**entry) for entry in orjson.loads(result.read_bytes())]


def main(name: str, result: str) -> None:
    """Inspect one tenant and leave what was found in a file: its Python may print."""
    environ = dict(os.environ)  # a copy: while the tenant's Python is imported, the environment is replaced by it
    problems = inspect_tenant(environ, Places.find(environ, repository_root()), name)
    Path(result).write_bytes(orjson.dumps([problem.as_dict() for problem in problems]))


if __name__ == "__main__":
    main(*sys.argv[1:])
