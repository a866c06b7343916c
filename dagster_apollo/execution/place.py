"""Where a tenant's commands run: natively or in a container, and in which; who starts the containers.

From what `tenant.yaml` says and APOLLO_EXECUTION overrides. Which folder a container shares with this machine is for
who knows the warehouse to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dagster_apollo.errors import Problem, TenantError
from dagster_apollo.execution.brokered import BROKER_VARIABLE, BrokeredRunner
from dagster_apollo.execution.container import ContainerPlace, ContainerRunner, engine_variables
from dagster_apollo.settings import Values, prefix
from dagster_apollo.tenant import TENANT_FILE, Tenant


def execution_of(tenant: Tenant, values: Values) -> str:
    """Where a tenant's commands run, `process` or `docker`: as APOLLO_EXECUTION says, else `tenant.yaml`."""
    return values.text("APOLLO_EXECUTION") or tenant.config.execution


def container_place(
    tenant: Tenant,
    values: Values,
    state_dir: Path,
    shared_folder: Path | None,
    image_folders: Mapping[str, Path],
) -> ContainerPlace | None:
    """The place of a tenant's containers; None where its commands run natively.

    Args:
        tenant: whose.
        values: the settings as the tenant sees them.
        state_dir: what this machine keeps.
        shared_folder: what of it the container sees.
        image_folders: folders of the image, by variable, that are to be found under a path of this machine too.

    Raises:
        TenantError: a container is asked for, and `tenant.yaml` does not say which.
    """
    if execution_of(tenant, values) == "process":
        return None
    container = tenant.config.container
    if container is None:
        where = values.source("APOLLO_EXECUTION", tenant.name)
        what = f"asks for containers, and tenants/{tenant.name}/{TENANT_FILE} names no image"
        remedy = f"Write `container: {{image: …}}` there, or set {where} to `process`."
        raise TenantError([Problem(where, what, remedy)], f"the tenant {tenant.name} cannot be served")
    return ContainerPlace(
        tenant=tenant.name,
        image=container.image,
        locks_dir=state_dir / "containers",
        declared_in=f"tenants/{tenant.name}/{TENANT_FILE}",
        without_engine=f"Or run natively: {prefix(tenant.name)}APOLLO_EXECUTION=process.",
        pull=container.pull,
        network=container.network,
        volumes=tuple(container.volumes),
        environment=container.environment,
        memory_mb=container.memory_mb,
        timeout_seconds=container.timeout_seconds,
        shared_folder=shared_folder,
        image_folders=image_folders,
    )


def runner_in(place: ContainerPlace, environ: Mapping[str, str]) -> ContainerRunner:
    """Who starts containers in a place for this process: the engine itself, or the code host, which holds it.

    Args:
        place: where.
        environ: the variables of this process; those of `docker` say which engine.
    """
    if address := environ.get(BROKER_VARIABLE):
        return BrokeredRunner(place.tenant, address)
    # Here, since the code host's first process knows places, and has no use for an engine's library.
    from dagster_apollo.execution.docker_runner import DockerRunner

    return DockerRunner(place, engine_variables(environ))
