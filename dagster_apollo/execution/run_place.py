"""Where a tenant's runs are executed, from what `tenant.yaml` says and APOLLO_RUN_ON overrides.

On `local` they stay where the code is: what is built there lies on that machine.
"""

from __future__ import annotations

from dagster_apollo.errors import Problem, TenantError
from dagster_apollo.execution.place import execution_of
from dagster_apollo.run_places import RUN_PLACES, RunPlace
from dagster_apollo.settings import Values
from dagster_apollo.tenant import TENANT_FILE, Tenant, why_not_elsewhere


def run_place(tenant: Tenant, values: Values) -> RunPlace:
    """The place of a tenant's runs.

    Raises:
        TenantError: the place that APOLLO_RUN_ON names cannot have this tenant's runs.
    """
    if values.target == "local":
        return "host"
    wanted = values.text("APOLLO_RUN_ON") or tenant.config.run_on
    place = next(known for known in RUN_PLACES if known == wanted)
    execution = execution_of(tenant, values)
    if reason := why_not_elsewhere(tenant.config, place, execution):
        overridden = "APOLLO_RUN_ON" in values.sources
        where = values.sources["APOLLO_RUN_ON"] if overridden else f"tenants/{tenant.name}/{TENANT_FILE}: run_on"
        problem = Problem(where, reason, "Set APOLLO_RUN_ON=host, with the tenant's prefix, or change the other field.")
        raise TenantError([problem], f"the tenant {tenant.name} cannot be served")
    return place
