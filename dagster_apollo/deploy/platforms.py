"""What a platform cannot give a tenant: found before a deploy, from `tenant.yaml` and `apollo.toml` alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from dagster_apollo.errors import Problem
from dagster_apollo.execution.place import execution_of
from dagster_apollo.fork import FILE, Fork
from dagster_apollo.settings import Values, prefix
from dagster_apollo.tenant import TENANT_FILE, Tenant

Platform = Literal["render", "docker"]


def platform_problems(tenant: Tenant, values: Values, fork: Fork, platform: Platform) -> list[Problem]:
    """Why a tenant cannot run on a platform as it is.

    Args:
        tenant: which.
        values: the settings as the tenant sees them there.
        fork: what the fork says of itself.
        platform: Render, or a Docker host.
    """
    problems = _forgotten(tenant) if platform == "render" else []
    problems += _no_engine(tenant, values, fork, platform)
    return problems + _of_its_runs(tenant, values, fork, platform)


def _forgotten(tenant: Tenant) -> list[Problem]:
    """A DuckDB file is gone with the next deploy, where disks do not last."""
    config, where = tenant.config, f"tenants/{tenant.name}/{TENANT_FILE}"
    problems = []
    if config.warehouse == "duckdb" and not {"s3", "postgres"} & set(config.services):
        what = "is `duckdb`, and on Render a file lasts until the next deploy"
        remedy = "Let its models write to `services: [s3]` or `[postgres]`, or use a Docker host."
        problems.append(Problem(f"{where}: warehouse", what, remedy))
    elif config.warehouse != "duckdb" and config.ingestion and config.ingestion.destination == "duckdb":
        what = "is `duckdb`, and on Render a file lasts until the next deploy"
        remedy = "Load into `snowflake` or `databricks`, or use a Docker host."
        problems.append(Problem(f"{where}: ingestion.destination", what, remedy))
    return problems


def _no_engine(tenant: Tenant, values: Values, fork: Fork, platform: Platform) -> list[Problem]:
    if execution_of(tenant, values) == "process":
        return []
    where = f"tenants/{tenant.name}/{TENANT_FILE}: execution"
    natively = f"set {prefix(tenant.name)}APOLLO_EXECUTION=process to run natively there"
    if platform == "render":
        what = "is `docker`, and Render gives no service a container engine"
        return [Problem(where, what, f"{natively[0].upper()}{natively[1:]}, or use a Docker host.")]
    if fork.docker_host.engine_socket is None:
        what = f"is `docker`, and {FILE} does not give the code host the engine"
        remedy = f"Say `engine_socket` there, under `[docker_host]`; or {natively}."
        return [Problem(where, what, remedy)]
    return []


def _of_its_runs(tenant: Tenant, values: Values, fork: Fork, platform: Platform) -> list[Problem]:
    place = values.text("APOLLO_RUN_ON") or tenant.config.run_on
    if place == "host" or values.target == "local":
        return []
    where = f"tenants/{tenant.name}/{TENANT_FILE}: run_on"
    here = f"set {prefix(tenant.name)}APOLLO_RUN_ON=host to keep its runs on the code host"
    if (platform, place) in _NOT_THERE:
        what = f"is `{place}`, and {_NOT_THERE[platform, place]}"
        return [Problem(where, what, f"{here[0].upper()}{here[1:]}.")]
    if place not in fork.runs.elsewhere:
        what = f"is `{place}`, and {FILE} does not give the daemon what it takes to start runs there"
        return [Problem(where, what, f'Say `elsewhere = ["{place}"]` there, under `[runs]`; or {here}.')]
    return []


_NOT_THERE: Mapping[tuple[str, str], str] = {
    ("render", "docker"): "Render gives no service a container engine",
    ("docker", "render_job"): "Render's jobs do not reach a Docker host's database",
}
