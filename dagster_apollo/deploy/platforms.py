"""What a platform cannot give a tenant: found before a deploy, from `tenant.yaml` and `apollo.toml` alone."""

from __future__ import annotations

from typing import Literal

from dagster_apollo.errors import Problem
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
    return problems + _no_engine(tenant, values, fork, platform)


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
    if (values.text("APOLLO_EXECUTION") or tenant.config.execution) == "process":
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
