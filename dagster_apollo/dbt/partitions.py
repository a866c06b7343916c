"""Daily partitions of a tenant's models: which nodes have them, and how the days of a run reach dbt.

As vars, `partition_date`, `partition_start` and `partition_end`, or as the event time of microbatch models; a run is
for one day, or for all the days of a backfill in one run. When a schedule builds which day is `schedules.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from typing import Any

import dagster as dg

from dagster_apollo.dbt.dagster_dbt_internals import select_unique_ids
from dagster_apollo.dbt.manifest import is_asset
from dagster_apollo.dbt.translation import one_line
from dagster_apollo.errors import Problem, TenantError
from dagster_apollo.execution.arguments import Days
from dagster_apollo.tenant import TENANT_FILE, Partitions, Tenant


def daily(partitions: Partitions) -> dg.DailyPartitionsDefinition:
    """The days, from the first to the last that is over, or to the tenant's own end."""
    return dg.DailyPartitionsDefinition(
        start_date=partitions.start, end_date=partitions.end, timezone=partitions.timezone
    )


def backfill_policy(partitions: Partitions) -> dg.BackfillPolicy:
    """Whether Dagster makes one run of a backfill, or one a day."""
    return dg.BackfillPolicy.single_run() if partitions.backfill == "one_run" else dg.BackfillPolicy.multi_run(1)


def partitioned_nodes(tenant: Tenant, manifest: Mapping[str, Any]) -> dict[str, dg.DailyPartitionsDefinition]:
    """The partitions of every node that has them, by its unique id; a seed is loaded whole and has none.

    Raises:
        TenantError: `partitions.select` cannot be read, or selects nothing that is built.
    """
    partitions = tenant.config.partitions
    if partitions is None:
        return {}
    where = f"tenants/{tenant.name}/{TENANT_FILE}: partitions.select"
    remedy = "Give dbt's node selection: https://docs.getdbt.com/reference/node-selection/syntax"
    try:
        selected = select_unique_ids(partitions.select, "", "", None, manifest)
    except Exception as error:
        what = f"dbt cannot read {partitions.select!r}: {one_line(error)}"
        raise TenantError([Problem(where, what, remedy)]) from None
    nodes = manifest["nodes"]
    chosen = [
        key for key in selected if key in nodes and is_asset(nodes[key]) and nodes[key]["resource_type"] != "seed"
    ]
    if not chosen:
        raise TenantError([Problem(where, f"{partitions.select!r} selects no model of this project", remedy)])
    days = daily(partitions)
    return dict.fromkeys(chosen, days)


def days_of(
    context: dg.AssetExecutionContext,
    partitions: Partitions,
    names: Collection[str],
    *,
    full_refresh: bool,
) -> Days:
    """The days that a run is for.

    Args:
        context: the run's.
        partitions: the tenant's.
        names: the models of the run that are partitioned; at least one.
        full_refresh: whether incremental models are built from nothing.

    Raises:
        dagster.Failure: the run names no day, or would drop the days that it does not name.
    """
    shown = ", ".join(sorted(names)[:3])
    if not (context.has_partition_key or context.has_partition_key_range):
        raise dg.Failure(
            f"{shown}: partitioned by day, and the run names no day. Choose partitions, or a range of them."
        )
    keys = context.partition_key_range
    if full_refresh and (keys.start, keys.end) != _all_days(partitions):
        raise dg.Failure(
            f"{shown}: full_refresh would drop the days that this run is not for. Choose all partitions, "
            "in one run, or leave full_refresh out."
        )
    return Days(
        date.fromisoformat(keys.start),
        date.fromisoformat(keys.end) + timedelta(days=1),
        as_event_time=partitions.reaches_dbt_as == "event_time",
    )


def _all_days(partitions: Partitions) -> tuple[str | None, str | None]:
    days = daily(partitions)
    return days.get_first_partition_key(), days.get_last_partition_key()
