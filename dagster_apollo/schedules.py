"""When a tenant's models are built, and how a run that ended badly is taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_dbt import build_schedule_from_dbt_selection

from dagster_apollo.dbt.dagster_dbt_internals import select_unique_ids
from dagster_apollo.dbt.partitions import daily, partitioned_nodes
from dagster_apollo.dbt.translation import one_line
from dagster_apollo.errors import Problem, TenantError
from dagster_apollo.tenant import TENANT_FILE, Partitions, Schedule, Tenant


def retry_tags(tenant: Tenant) -> Mapping[str, str]:
    """Tags that make Dagster's daemon take up a run: what was built stays, the rest is built.

    https://docs.dagster.io/deployment/execution/run-retries
    """
    retries = tenant.config.retries
    if not retries.count:
        return {"dagster/max_retries": "0"}  # said, since the instance's own default is another
    return {
        "dagster/max_retries": str(retries.count),
        "dagster/retry_strategy": "FROM_ASSET_FAILURE",
        "dagster/retry_on_asset_or_op_failure": str(retries.after_failure).lower(),
    }


def build_schedules(
    tenant: Tenant,
    target: str,
    manifest: Mapping[str, Any],
    dbt_assets: dg.AssetsDefinition,
    freshness: dg.AssetChecksDefinition | None,
) -> tuple[list[dg.ScheduleDefinition], list[object]]:
    """The tenant's schedules over its slim manifest, and the jobs that have none.

    The build's schedule is declared running in the targets that the tenant names and stopped elsewhere, so that its
    state lives in code and a deploy cannot switch it off.

    Raises:
        TenantError: when `tenant.yaml` gives a cron line or a selection that cannot be read.
    """
    tags = retry_tags(tenant)
    schedule = tenant.config.schedule
    job_name = f"{tenant.name}__build"
    freshness_job = (
        dg.define_asset_job(
            f"{tenant.name}__freshness", selection=dg.AssetSelection.checks(*freshness.check_keys), tags=tags
        )
        if freshness
        else None
    )
    jobs: list[object] = [freshness_job] if freshness_job else []
    if schedule is None:
        return [], [dg.define_asset_job(job_name, selection=dg.AssetSelection.assets(dbt_assets), tags=tags), *jobs]
    if problems := _selection_problems(tenant.name, schedule, manifest):
        raise TenantError(problems)
    status = dg.DefaultScheduleStatus.RUNNING if target in schedule.running_in else dg.DefaultScheduleStatus.STOPPED
    try:
        built = build_schedule_from_dbt_selection(
            [dbt_assets],
            job_name=job_name,
            schedule_name=f"{job_name}_schedule",
            cron_schedule=schedule.cron,
            execution_timezone=schedule.timezone,
            dbt_select=schedule.select,
            dbt_exclude=schedule.exclude,
            tags=tags,
            default_status=status,
        )
        partitions = tenant.config.partitions
        daily_too = partitions and set(partitioned_nodes(tenant, manifest)) & set(
            select_unique_ids(schedule.select, schedule.exclude, "", None, manifest)
        )
        schedules = [_for_the_last_day(built, partitions) if partitions and daily_too else built]
        if freshness_job:
            schedules.append(
                dg.ScheduleDefinition(
                    name=f"{freshness_job.name}_schedule",
                    job=freshness_job,
                    cron_schedule=schedule.cron,
                    execution_timezone=schedule.timezone,
                    default_status=status,
                )
            )
    except dg.DagsterInvalidDefinitionError as error:
        where = f"tenants/{tenant.name}/tenant.yaml: schedule"
        raise TenantError([Problem(where, " ".join(str(error).split()), "Give five cron fields.")]) from None
    return schedules, jobs


def _for_the_last_day(built: dg.ScheduleDefinition, partitions: Partitions) -> dg.ScheduleDefinition:
    """The same schedule, whose runs are for the last day that is over at the time of the tick.

    A day that no run was for, while the daemon was away, is built by a backfill.
    """
    days = daily(partitions)

    def request(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        with dg.partition_loading_context(effective_dt=context.scheduled_execution_time):
            day = days.get_last_partition_key()
        if day is None:
            return dg.SkipReason(f"the first day, {partitions.start}, is not over")
        return dg.RunRequest(partition_key=day)

    return dg.ScheduleDefinition(
        name=built.name,
        job=built.job,
        cron_schedule=built.cron_schedule,
        execution_timezone=built.execution_timezone,
        default_status=built.default_status,
        execution_fn=request,
    )


def _selection_problems(tenant: str, schedule: Schedule, manifest: Mapping[str, Any]) -> list[Problem]:
    """A selection that cannot be read, or that selects nothing: its runs would build nothing and be green."""
    if (schedule.select, schedule.exclude) == ("fqn:*", ""):
        return []
    where = f"tenants/{tenant}/{TENANT_FILE}: schedule.select"
    remedy = "Give dbt's node selection: https://docs.getdbt.com/reference/node-selection/syntax"
    try:
        if select_unique_ids(schedule.select, schedule.exclude, "", None, manifest):
            return []
    except Exception as error:
        return [Problem(where, f"dbt cannot read {schedule.select!r}: {one_line(error)}", remedy)]
    return [Problem(where, f"{schedule.select!r} selects nothing of this project", remedy)]
