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
