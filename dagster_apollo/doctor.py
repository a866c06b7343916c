"""`apollo doctor`: what is wrong with this machine, environment, tenants, keys, connections and database.

Each check is a function from an environment to problems; nothing is changed by any of them.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Callable, Mapping

from dagster_apollo.dbt.workspace import Places, open_workspace, read_tenant
from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.host.container_images import container_problems
from dagster_apollo.host.instance import database_problems
from dagster_apollo.host.unset_services import stand_in_problems
from dagster_apollo.settings import Values, colliding_prefixes, read, shared_problems, suspicious_variables
from dagster_apollo.tenant import Tenant, tenant_names
from dagster_apollo.warehouse.connection import connection_problems
from dagster_apollo.warehouse.profiles import snowflake_key
from dagster_apollo.warehouse.services import missing_settings, wrong_endpoints

_FREE_DISK_GB = 2.0
Check = Callable[[Mapping[str, str], Places], list[Problem]]


def examine(environ: Mapping[str, str], places: Places) -> dict[str, list[Problem]]:
    """Every check's problems, under the check's heading; an empty list is a clean bill."""
    return {heading: check(environ, places) for heading, check in CHECKS.items()}


def _machine(environ: Mapping[str, str], places: Places) -> list[Problem]:
    problems = []
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        version = ".".join(map(str, sys.version_info[:3]))
        problems.append(Problem("Python", f"is {version}", "Use 3.11, 3.12 or 3.13: `make setup` looks for one."))
    for line in (places.root / "requirements.txt").read_text().splitlines():
        name, separator, rest = line.partition("==")
        if not separator or ";" in rest or not name[0].isalpha():
            continue
        wanted = rest.split()[0]
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "not installed"
        if found != wanted:
            problems.append(Problem(name, f"is {found}, the lock says {wanted}", "Run `make setup`."))
    free_gb = shutil.disk_usage(places.root).free / 1e9
    if free_gb < _FREE_DISK_GB:
        problems.append(Problem(str(places.root), f"has {free_gb:.1f} GB of disk left", "Make room."))
    if environ.get("PYTHONDONTWRITEBYTECODE"):
        what = "is set, so that every run pays for every import again"
        problems.append(Problem("PYTHONDONTWRITEBYTECODE", what, "Unset it; `make` does.", "note"))
    return problems


def _environment(environ: Mapping[str, str], places: Places) -> list[Problem]:
    names = tenant_names(places.tenants_dir)
    problems = [*shared_problems(environ), *suspicious_variables(environ, names)]
    problems += [
        Problem(f"tenants/{one} and tenants/{other}", "their variables' prefixes collide", "Rename one of the folders.")
        for one, other in colliding_prefixes(names)
    ]
    written = places.root / ".env"
    if written.is_file() and written.stat().st_mode & 0o077:
        problems.append(Problem(".env", "can be read by other users", "Close it: `chmod 600 .env`.", "warning"))
    return problems


def _tenants(environ: Mapping[str, str], places: Places) -> list[Problem]:
    problems = []
    if not tenant_names(places.tenants_dir):
        remedy = "Make one: `apollo tenant new NAME`."
        problems.append(Problem(f"{places.tenants_dir.name}/", "holds no tenant", remedy))
    for name in tenant_names(places.tenants_dir):
        try:
            workspace = open_workspace(environ, places, name, parse_only=True)
        except ProblemsError as error:
            problems += error.problems
            continue
        prepared = places.state_dir / "tenants" / name / "prepared" / workspace.values.target
        if not (prepared / "manifest.json").exists():
            remedy = f"`apollo prepare {name}`; `make dev` does it too."
            problems.append(Problem(f"tenants/{name}", "is not prepared", remedy, "note"))
    if len(tenant_names(places.tenants_dir)) > 1:
        what = "run as one user on this machine, so that one's Python could read another's process"
        problems.append(Problem("tenants", what, "In a deployment they do not.", "note"))
    return problems


def _services(environ: Mapping[str, str], places: Places) -> list[Problem]:
    problems = []
    for name in tenant_names(places.tenants_dir):
        try:
            tenant, values = read_tenant(environ, places, name)
        except ProblemsError:
            continue  # the tenants' check says so
        if values.target != "local":
            problems += missing_settings(tenant, values)
        problems += wrong_endpoints(tenant, values)
    return [*problems, *stand_in_problems(environ, places), *container_problems(environ, places)]


def _keys(environ: Mapping[str, str], places: Places) -> list[Problem]:
    problems = []
    for tenant, values in _on_snowflake(environ, places):
        key, found = snowflake_key(tenant, values)
        if values.target == "local":
            told = "; ".join(f"{problem.where} {problem.what}" for problem in found)
            if told:
                what = f"could not build on Snowflake: {told}"
                problems.append(Problem(f"tenants/{tenant.name}", what, "Needed for `dev` and `prod` alone.", "note"))
        else:
            problems += found
        problems += list(key.notes) if key else []
    return problems


def _connections(environ: Mapping[str, str], places: Places) -> list[Problem]:
    problems: dict[str, Problem] = {}
    for tenant, values in _on_snowflake(environ, places):
        key, found = snowflake_key(tenant, values)
        if values.target != "local" and key and not found:
            problems |= {str(problem): problem for problem in connection_problems(values, key)}
    return list(problems.values())


def _database(environ: Mapping[str, str], places: Places) -> list[Problem]:
    try:
        url = read({"DAGSTER_PG_URI": environ.get("DAGSTER_PG_URI", "")}).text("DAGSTER_PG_URI")
    except ProblemsError:
        return []  # the environment's check says so
    if not url:
        remedy = "Set it for anything but a laptop."
        return [Problem("DAGSTER_PG_URI", "is not set: Dagster keeps its records in SQLite", remedy, "note")]
    return database_problems(url)


def _on_snowflake(environ: Mapping[str, str], places: Places) -> list[tuple[Tenant, Values]]:
    found = []
    for name in tenant_names(places.tenants_dir):
        try:
            tenant, values = read_tenant(environ, places, name)
        except ProblemsError:
            continue  # the tenants' check says so
        if tenant.config.warehouse == "snowflake":
            found.append((tenant, values))
    return found


CHECKS: Mapping[str, Check] = {
    "machine": _machine,
    "environment": _environment,
    "tenants": _tenants,
    "services": _services,
    "keys": _keys,
    "connections": _connections,
    "database": _database,
}
