"""`dbt_cloud_job_trigger`: one of dbt Cloud's own jobs, started by hand from Dagster and followed to its end.

Nothing is recorded of its models here: the polling sensor does it, as for every run of such a job.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

import sys
from collections.abc import Mapping

import dagster as dg
from pydantic import Field

from dagster_apollo.dbt_cloud.builds import NOT_CONNECTED, cloud_failure
from dagster_apollo.dbt_cloud.client import CloudClient, open_workspace
from dagster_apollo.dbt_cloud.connection import Connection
from dagster_apollo.dbt_cloud.dagster_dbt_internals import DAGSTER_ADHOC_PREFIX
from dagster_apollo.dbt_cloud.kept_state import names_of
from dagster_apollo.dbt_cloud.runs import trigger, unknown_job
from dagster_apollo.errors import DbtCloudError, Problem

JOB = "dbt_cloud_job_trigger"


class TriggerConfig(dg.Config):
    """Which job is triggered."""

    job: str = Field("", description="The dbt Cloud job's name or number; empty: the only one.")


def job_trigger(name: str, tenant: str, connection: Connection | None, tags: Mapping[str, str]) -> dg.JobDefinition:
    """The job.

    Args:
        name: the job's name.
        tenant: the tenant's id: while the dbt Cloud job runs, no other dbt of the tenant does.
        connection: the environment; None where there is no token.
        tags: the job's tags.
    """

    @dg.op(name=f"{tenant}__dbt_cloud_job", pool=tenant)
    def trigger_and_follow(context: dg.OpExecutionContext, config: TriggerConfig) -> None:
        if connection is None:
            raise dg.Failure(str(NOT_CONNECTED))
        try:
            client = open_workspace(connection).get_client()
            run = trigger(client, _chosen(client, connection, config.job), f"Dagster run {context.run.run_id}")
            context.log.info(f"dbt Cloud run {run.id}: {run.url}")
            run.follow(sys.stdout.write, context.log.warning)
        except DbtCloudError as error:
            raise dg.Failure("\n".join(str(problem) for problem in error.problems)) from error
        context.add_output_metadata({"dbt_cloud_run": dg.MetadataValue.url(run.url)})
        if not run.succeeded:
            told = " ".join(run.errors()) or "the run failed"
            raise cloud_failure(run, Problem("dbt Cloud", told, "See its log."))

    @dg.job(name=name, tags=tags, description="Runs one of dbt Cloud's own jobs; its models appear by the sensor.")
    def dbt_cloud_job_trigger() -> None:
        trigger_and_follow()

    return dbt_cloud_job_trigger


def _chosen(client: CloudClient, connection: Connection, wanted: str) -> int:
    """The job's number.

    Raises:
        DbtCloudError: there is no such job, or several and none is named.
    """
    listed = names_of(client.list_jobs(connection.project_id, connection.environment_id))
    jobs = {number: name for number, name in listed.items() if not name.startswith(DAGSTER_ADHOC_PREFIX)}
    found = [number for number, name in jobs.items() if wanted in ("", name, str(number))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise DbtCloudError(unknown_job(wanted, jobs))
    what = "is not named, and there are several" if not wanted else f"{wanted!r} is the name of several"
    known = ", ".join(f"{name} ({number})" for number, name in jobs.items())
    raise DbtCloudError(Problem("the dbt Cloud job", what, f"Name it in the run's config, `job: …`: {known}."))
