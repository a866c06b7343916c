"""Bronze before dbt's models and the key-value tables after them, and the schedule of the whole.

What the steps do is `pipeline/`; that they run in a child process or in the tenant's image is `tenant.yaml`'s.
"""

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_apollo.commands import TenantCommands

BRONZE = dg.AssetKey(["makerates", "bronze", "rates"])  # dbt's source `bronze.rates`
GOLD = [dg.AssetKey(["makerates", "gold", model]) for model in ("cross_rates", "month_rates")]
RATES = dg.AssetKey(["makerates", "dynamodb", "rates"])
EVENTS = dg.AssetKey(["makerates", "dynamodb", "events"])


@dg.asset(
    key=BRONZE,
    group_name="bronze",
    kinds={"s3", "parquet"},
    description="What the provider of exchange rates answered, a Parquet object a month. The provider is a recording.",
    check_specs=[dg.AssetCheckSpec("every_day_has_every_currency", asset=BRONZE)],
)
def bronze_rates(context: dg.AssetExecutionContext, commands: dg.ResourceParam[TenantCommands]) -> Iterator[Any]:
    yield from commands.run(context, ["python", "-m", "pipeline.fetch_rates"])


@dg.multi_asset(
    name="sync",
    group_name="dynamodb",
    specs=[
        dg.AssetSpec(RATES, deps=GOLD, kinds={"dynamodb"}, description="Gold by pair of currencies and period."),
        dg.AssetSpec(EVENTS, deps=[BRONZE, *GOLD], kinds={"dynamodb"}, description="What came to be, and when."),
    ],
    check_specs=[dg.AssetCheckSpec("table_equals_gold", asset=RATES)],
)
def sync(context: dg.AssetExecutionContext, commands: dg.ResourceParam[TenantCommands]) -> Iterator[Any]:
    yield from commands.run(context, ["python", "-m", "pipeline.sync_rates"])


# A run whose process died is taken up again where it was; as tenant.yaml's `retries` do for jobs of dbt alone.
RETRIES = {
    "dagster/max_retries": "2",
    "dagster/retry_strategy": "FROM_ASSET_FAILURE",
    "dagster/retry_on_asset_or_op_failure": "false",
}
pipeline = dg.define_asset_job("makerates__pipeline", selection=dg.AssetSelection.all(), tags=RETRIES)

defs = dg.Definitions(
    assets=[bronze_rates, sync],
    jobs=[pipeline],
    schedules=[
        dg.ScheduleDefinition(
            name="makerates__pipeline_schedule",
            job=pipeline,
            cron_schedule="30 16 * * 1-5",
            execution_timezone="Europe/Berlin",
            default_status=dg.DefaultScheduleStatus.RUNNING
            if os.environ.get("DBT_TARGET") == "prod"
            else dg.DefaultScheduleStatus.STOPPED,
        )
    ],
)
