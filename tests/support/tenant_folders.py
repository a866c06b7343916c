"""Tenant folders made for one test, from a dictionary of file names and texts, and looked at as production does.

A `TenantFolders` is a `tenants/` with a state folder of its own beside it. Checking goes through the command line in
a process of its own; loading and building through the function that a code location loads, in this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import yaml

from dagster_apollo import environment
from dagster_apollo.code_host import code_location
from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.errors import Problem
from dagster_apollo.settings import SETTINGS

ON_DUCKDB = "warehouse: duckdb\n"


def dbt_project(name: str = "shop", **fields: Any) -> str:
    """The text of a `dbt_project.yml`; a field is written with `_` for `-` unless it is given quoted in `fields`."""
    written = {key.replace("_", "-"): value for key, value in fields.items()}
    return yaml.safe_dump({"name": name, "profile": "shop", **written}, sort_keys=False)


class TenantFolders:
    """Tenants of a test.

    Args:
        root: an empty folder; tenants, state and Dagster's home go below it.
        variables: settings that all its tenants share.
    """

    def __init__(self, root: Path, **variables: str) -> None:
        self.tenants_dir = root / "tenants"
        self.state_dir = root / "state"
        self.tenants_dir.mkdir()
        self.variables = variables

    def write(self, name: str, files: Mapping[str, str], *, as_it_is: bool = False) -> Path:
        """Make a tenant.

        Args:
            name: the folder's name.
            files: texts by path; a text of `-> PATH` makes a symlink to PATH.
            as_it_is: add nothing; else a missing `tenant.yaml` says DuckDB and a missing `dbt_project.yml` is minimal.
        """
        folder = self.tenants_dir / name
        folder.mkdir(parents=True)
        usual = {} if as_it_is else {"tenant.yaml": ON_DUCKDB, "dbt_project.yml": dbt_project()}
        for path, text in {**usual, **files}.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("-> "):
                file.symlink_to(text.removeprefix("-> "))
            else:
                file.write_text(text, encoding="utf-8")
        return folder

    def environ(self, **more: str) -> dict[str, str]:
        """A shell's environment: this process's, without what happens to be set here for the project."""
        ours = {setting.name for setting in SETTINGS} | {"PYTHONDONTWRITEBYTECODE"}
        inherited = {name: value for name, value in os.environ.items() if name.rpartition("__")[2] not in ours}
        places = {"APOLLO_TENANTS_DIR": str(self.tenants_dir), "APOLLO_STATE_DIR": str(self.state_dir)}
        home = {"DAGSTER_HOME": str(self.state_dir / "dagster")}
        return {**inherited, "DBT_TARGET": "local", **places, **home, **self.variables, **more}

    def of_tenant(self, name: str, **more: str) -> dict[str, str]:
        """What the tenant's code location is started with."""
        own = environment.for_tenant(self.environ(**more), name)
        return {**own, code_location.TENANT_VARIABLE: name}

    def apollo(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end."""
        return subprocess.run(
            [sys.executable, "-m", "dagster_apollo.cli.main", *words],
            env=self.environ(**more),
            cwd=repository_root(),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def check(self, *names: str, **more: str) -> dict[str, list[Problem]]:
        """What `apollo tenant check` says, by tenant; its exit code is held to it."""
        ended = self.apollo("tenant", "check", "--json", *names, **more)
        told = json.loads(ended.stdout)
        assert ended.returncode == (0 if told["ok"] else 1), ended.stderr
        return {entry["name"]: [Problem(**fields) for fields in entry["problems"]] for entry in told["tenants"]}

    def load(self, name: str, **more: str) -> dg.Definitions:
        """The definitions as the tenant's code location has them."""
        return code_location.load(self.of_tenant(name, **more))

    def build(self, name: str, **more: str) -> dg.ExecuteInProcessResult:
        """Build all of a tenant with the job that its schedule runs."""
        return build(self.load(name, **more), name)

    def files(self, name: str) -> dict[str, bytes]:
        """Every file and link in a tenant's folder with what it holds, packages and Python's bytecode aside."""
        folder = self.tenants_dir / name
        found = {}
        for path in sorted(folder.rglob("*")):
            shown = path.relative_to(folder)
            if not {"dbt_packages", "package-lock.yml", "__pycache__"} & set(shown.parts):
                is_file = path.is_file() and not path.is_symlink()
                found[str(shown)] = (
                    path.read_bytes() if is_file else os.readlink(path).encode() if path.is_symlink() else b""
                )
        return found

    def rows(self, name: str, sql: str, target: str = "local") -> list[tuple[Any, ...]]:
        """Ask the tenant's DuckDB file."""
        with duckdb.connect(
            str(self.state_dir / "warehouse" / target / f"{name}.duckdb"), read_only=True
        ) as connection:
            return connection.execute(sql).fetchall()


def build(definitions: dg.Definitions, tenant: str) -> dg.ExecuteInProcessResult:
    """Run a tenant's build job in this process."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def(f"{tenant}__build")
        return job.execute_in_process(instance=instance, raise_on_error=False)


def materialized(result: dg.ExecuteInProcessResult) -> set[str]:
    """The keys that a run materialized, as text without the tenant."""
    return {
        "/".join(event.asset_key.path[1:]) for event in result.get_asset_materialization_events() if event.asset_key
    }


def evaluated(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """The checks that a run evaluated, as `key:check` without the tenant, and whether they passed."""
    return {
        f"{'/'.join(check.asset_key.path[1:])}:{check.check_name}": check.passed
        for check in result.get_asset_check_evaluations()
    }


def failures(result: dg.ExecuteInProcessResult) -> str:
    """What the run's failed steps say."""
    told = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            own = data.user_failure_data.description if data.user_failure_data else None
            told.append(own or (data.error.to_string() if data.error else event.message or ""))
    return "\n".join(told)
