"""Ingestion and what counts downstream; the models between them are the dbt project's."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import dlt
from dagster_dlt import DagsterDltResource, dlt_assets
from dlt.extract.resource import DltResource
from fact_virtual import bouts

from dagster_apollo.dbt.automation import automation_condition
from dagster_apollo.ingestion import Ingestion

FOLDER = Path(__file__).parent
TENANT = FOLDER.name
# Plain variables, so that a test, or a person who looks on, has a file of its own, a shorter interval and a schedule
# that runs: KAIZEN_WARS__FACT_VIRTUAL_CSV, …_CRON and …_RUNNING_IN, targets separated by commas.
CSV = Path(os.environ.get("FACT_VIRTUAL_CSV") or FOLDER / "data" / "fact_virtual.csv")
CRON = os.environ.get("FACT_VIRTUAL_CRON") or "*/5 * * * *"
RUNNING_IN = (os.environ.get("FACT_VIRTUAL_RUNNING_IN") or "prod").split(",")

ingestion = Ingestion.of_tenant(FOLDER, os.environ)
pipeline = ingestion.pipeline(TENANT, dataset="raw")


@dlt.source(name=TENANT)
def virtual_bouts() -> DltResource:
    """The CSV, whole: a bout that is known is updated, a new one is added."""
    return dlt.resource(bouts(CSV), name="fact_virtual", primary_key="bout_id", write_disposition="merge")


@dlt_assets(
    name="dlt_kaizen_wars_fact_virtual",
    dlt_source=virtual_bouts(),
    dlt_pipeline=pipeline,
    dagster_dlt_translator=ingestion.translator(
        "ingestion", dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=1))
    ),
    pool=TENANT,
)
def dlt_kaizen_wars_fact_virtual(
    context: dg.AssetExecutionContext, dlt_resource: DagsterDltResource
) -> Iterator[dg.MaterializeResult]:
    yield from ingestion.run(context, dlt_resource)


@dg.asset(
    key_prefix=TENANT,
    deps=[dg.AssetKey([TENANT, "staging", "stg_kaizen_wars__fact_virtual"])],
    group_name="downstream",
    automation_condition=automation_condition("any_deps_updated"),
    pool=TENANT,
)
def fact_virtual_count_asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """How many bouts there are once dbt has built them."""
    [[rows]] = ingestion.query(context, pipeline, "select count(*) from staging.stg_kaizen_wars__fact_virtual")
    return dg.MaterializeResult(metadata={"dagster/row_count": rows})


load = dg.define_asset_job("kaizen_wars_dlt", selection=[dlt_kaizen_wars_fact_virtual])
ON_THEIR_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.schedule(
    job=load,
    cron_schedule=CRON,
    default_status=dg.DefaultScheduleStatus.RUNNING
    if os.environ.get("DBT_TARGET", "local") in RUNNING_IN
    else dg.DefaultScheduleStatus.STOPPED,
)
def kaizen_wars_dlt_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Load what there is; a load that has not ended will see it too, so that none pile up behind it."""
    if context.instance.get_run_ids(dg.RunsFilter(job_name=load.name, statuses=ON_THEIR_WAY), limit=1):
        return dg.SkipReason("The load before has not ended.")
    return dg.RunRequest()


defs = dg.Definitions(
    assets=[dlt_kaizen_wars_fact_virtual, fact_virtual_count_asset],
    schedules=[kaizen_wars_dlt_schedule],
    resources={"dlt_resource": DagsterDltResource()},
)
