"""A dbt project as Dagster's documentation has it: what `dagster-dbt project scaffold` writes, in two files.

Nothing here is made slower or faster than it is written there: https://docs.dagster.io/integrations/libraries/dbt.
The schedule runs by itself, as those of the tenants that it is measured beside.
"""

from dagster import AssetExecutionContext, DefaultScheduleStatus, Definitions
from dagster_dbt import DbtCliResource, build_schedule_from_dbt_selection, dbt_assets
from project import project


@dbt_assets(manifest=project.manifest_path)
def models(context: AssetExecutionContext, dbt: DbtCliResource):
    yield from dbt.cli(["build"], context=context).stream()


defs = Definitions(
    assets=[models],
    schedules=[
        build_schedule_from_dbt_selection(
            [models],
            job_name="materialize_dbt_models",
            cron_schedule="0 3 * * *",
            dbt_select="fqn:*",
            default_status=DefaultScheduleStatus.RUNNING,
        )
    ],
    resources={"dbt": DbtCliResource(project_dir=project)},
)
