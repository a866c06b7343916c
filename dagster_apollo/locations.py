"""The names of code locations: a tenant's own name, or `tenant__group` for each group that is served apart.

Everything that is told of a location by its name (runs, schedules, status, rights) asks here whose it is. Which
definitions a location serves is `shares.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from dagster_apollo.tenant import TenantConfig, read_config

# A tenant's name holds no `__` and a group's does not begin with `_`, so the first `__` that another `_` does not
# follow divides them, also where the tenant's name ends with one.
_OF_A_GROUP = re.compile(r"(?P<tenant>.+?)__(?!_)(?P<group>.+)", re.DOTALL)


def location_name(tenant: str, group: str) -> str:
    """The location that serves one group of a tenant."""
    return f"{tenant}__{group}"


def tenant_of(location: str) -> str:
    """The tenant that a location serves, also one that is no longer there."""
    found = _OF_A_GROUP.fullmatch(location)
    return found["tenant"] if found else location


def group_of(location: str) -> str | None:
    """The group that a location serves; None: all of its tenant."""
    found = _OF_A_GROUP.fullmatch(location)
    return found["group"] if found else None


def location_names(tenant: str, config: TenantConfig) -> tuple[str, ...]:
    """The locations of a tenant, in the order in which `tenant.yaml` names them; its own name where it names none."""
    return tuple(location_name(tenant, group) for group in config.code_locations) or (tenant,)


def declared_locations(tenants_dir: Path, tenant: str) -> tuple[str, ...]:
    """The locations that a tenant's folder declares. A `tenant.yaml` that cannot be read has one, to show why."""
    config, _ = read_config(tenants_dir / tenant, tenant)
    return location_names(tenant, config)


def all_locations(tenants_dir: Path, tenants: Iterable[str]) -> list[str]:
    """The locations of several tenants."""
    return [location for tenant in tenants for location in declared_locations(tenants_dir, tenant)]
