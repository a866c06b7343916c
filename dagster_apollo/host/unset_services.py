"""What stands in, for `apollo dev`, for services that tenants need and no setting leads to.

Which these are follows from the tenants' `services` and `warehouse`; what is started for them is the top-level package
`stand_ins`, which no image carries. Only tenants that build in `local` are given any.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dagster_apollo import environment
from dagster_apollo.dbt.workspace import Places, read_tenant, tenant_place
from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.execution.container import engine_variables
from dagster_apollo.execution.gateway import gateway
from dagster_apollo.host.processes import ProcessGroup
from dagster_apollo.settings import prefix
from dagster_apollo.tenant import Tenant, TenantConfig, tenant_names

if TYPE_CHECKING:
    from stand_ins.starting import Need

FOLDER = "stand_ins"
_NOT_HERE = "set it, or start from the whole repository (`make setup`)"
Say = Callable[[str], None]


def services_of(config: TenantConfig) -> set[str]:
    """All that a tenant needs beside this machine."""
    return {*config.services, *(["dbt_cloud"] if config.warehouse == "dbt_cloud" else [])}


def buckets_of(config: TenantConfig) -> set[str]:
    """The buckets that the variables of a tenant name, as in `BRONZE_URL: s3://bronze/rates`."""
    urls = [urlsplit(value) for value in config.environment.values() if value.startswith("s3://")]
    return {url.netloc for url in urls if url.netloc}


def start_stand_ins(
    group: ProcessGroup, environ: Mapping[str, str], places: Places, names: Iterable[str], say: Say
) -> dict[str, str]:
    """Start what stands in for what the tenants lack.

    Args:
        group: starts their processes.
        environ: all variables.
        places: the folders.
        names: the tenants that are served.
        say: prints one line.

    Returns:
        All variables, and those that lead to what was started.
    """
    lacking = list(_lacking(environ, places, names))
    if not lacking:
        return dict(environ)
    if importlib.util.find_spec("stand_ins") is None:
        for tenant, services in lacking:
            say(f"{tenant.name}: {_settings_of(services)} is not set, and nothing can stand in: {_NOT_HERE}")
        return dict(environ)
    from stand_ins.starting import start

    needs = [_need(environ, places, tenant, services) for tenant, services in lacking]
    return {**environ, **start(needs, places.state_dir / FOLDER, group, say, environ)}


def forget_stand_ins(folder: Path) -> None:
    """Remove what was written for those who work beside `apollo dev`, which ends."""
    (folder / FOLDER / "env").unlink(missing_ok=True)


def stand_in_problems(environ: Mapping[str, str], places: Places) -> list[Problem]:
    """For each tenant that builds in `local`, what would stand in for what it lacks; a note, unless nothing can."""
    problems = []
    for tenant, services in _lacking(environ, places, tenant_names(places.tenants_dir)):
        where = f"tenants/{tenant.name}"
        if importlib.util.find_spec("stand_ins") is None:
            what = f"needs {_settings_of(services)}, and nothing can stand in"
            problems.append(Problem(where, what, f"{_NOT_HERE.capitalize()}.", "warning"))
            continue
        from stand_ins.choice import chosen

        for service in sorted(services):
            setting = _settings_of({service})
            try:
                told = chosen(service, places.state_dir / FOLDER, environ)
            except ProblemsError as error:
                what = f"needs {setting}, and nothing can stand in: {error.problems[0].where} {error.problems[0].what}"
                problems.append(Problem(where, what, error.problems[0].remedy, "warning"))
                continue
            what = f"finds no {setting}, so that in `make dev` {told} stands in"
            problems.append(Problem(where, what, f"Set {setting} for another.", "note"))
    return problems


def _settings_of(services: Iterable[str]) -> str:
    return ", ".join(sorted(environment.STOOD_IN_BY[service][0] for service in services))


def _lacking(environ: Mapping[str, str], places: Places, names: Iterable[str]) -> Iterator[tuple[Tenant, set[str]]]:
    for name in names:
        try:
            tenant, values = read_tenant(environ, places, name)
        except ProblemsError:
            continue  # told when it is prepared
        services = services_of(tenant.config) & environment.unset_services(environ, prefix(name))
        if services and values.target == "local":
            yield tenant, services


def _need(environ: Mapping[str, str], places: Places, tenant: Tenant, services: set[str]) -> Need:
    from stand_ins.starting import Need

    own = {
        **environment.for_tenant(environment.without_settings_of_others(environ, "code"), tenant.name),
        "APOLLO_STATE_DIR": str(places.state_dir),
        "APOLLO_TENANTS_DIR": str(places.tenants_dir),
    }
    host = _address_for_containers(environ, places, tenant)
    return Need(tenant.name, prefix(tenant.name), services, buckets_of(tenant.config), own, host)


def _address_for_containers(environ: Mapping[str, str], places: Places, tenant: Tenant) -> str | None:
    try:
        place = tenant_place(tenant, read_tenant(environ, places, tenant.name)[1], places)
    except ProblemsError:
        return None  # told when it is prepared
    return gateway(place, engine_variables(environ)) if place else None
