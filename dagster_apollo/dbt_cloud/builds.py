"""A tenant's models, built by dbt Cloud: what Dagster selected as one run there, its results as Dagster's events.

Takes the place of `dbt.assets.invoke`, with the same words and the same account of what was not done.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from dagster_apollo.dbt.manifest import slim_id
from dagster_apollo.dbt.results import held_to_selection, unfinished_nodes
from dagster_apollo.dbt.retries import UnfinishedError
from dagster_apollo.dbt.stream import DagsterDbtEvent
from dagster_apollo.dbt.translation import TenantTranslator
from dagster_apollo.dbt.workspace import Workspace
from dagster_apollo.dbt_cloud.client import open_workspace
from dagster_apollo.dbt_cloud.connection import Connection
from dagster_apollo.dbt_cloud.dagster_dbt_internals import DbtCloudJobRunResults
from dagster_apollo.dbt_cloud.runs import CloudRun, trigger
from dagster_apollo.errors import DbtCloudError, Problem

NOT_CONNECTED = Problem(
    "DBT_CLOUD_TOKEN", "is not set, so that nobody builds these models", "Set it; `make dev` starts a stand-in."
)


@dataclass(frozen=True)
class CloudBuilds:
    """dbt Cloud as what carries out dbt's commands.

    Attributes:
        connection: None where there is no token: every build then fails by saying so.
        adhoc_job_id: the job that runs are runs of; None where it is not known yet.
    """

    connection: Connection | None
    adhoc_job_id: int | None

    def invoke(
        self,
        context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
        workspace: Workspace,
        manifest: Mapping[str, Any],
        translator: TenantTranslator,
        selected: Collection[str],
        words: Sequence[str],
    ) -> Iterator[DagsterDbtEvent]:
        """Run a dbt command in dbt Cloud, report its results, and fail unless everything selected ended well."""
        if "--target" in words:
            raise dg.Failure(
                "The run's config names a target; which one is built in is dbt Cloud's environment to say."
            )
        context.log.info(f"dbt {' '.join(words) if len(words) < 50 else f'{words[0]} ({len(selected)} nodes)'}")
        try:
            run = self._finished(context, words)
            results = run.artifact("run_results.json")
            yield from _events(context, run, results, manifest, translator, selected)
        except DbtCloudError as error:
            raise dg.Failure("\n".join(str(problem) for problem in error.problems)) from error
        by_id = {result["unique_id"]: result for result in (results or {}).get("results", [])}
        if problems := held_to_selection(manifest, selected, by_id, run.errors(), 0 if run.succeeded else 1):
            # Whoever cancelled it there did not mean it to be started again.
            again = set() if run.was_cancelled else unfinished_nodes(manifest, selected, by_id)
            raise UnfinishedError([*problems, where_to_look(run)], again)

    def measure(
        self,
        context: dg.AssetCheckExecutionContext,
        workspace: Workspace,
        manifest: Mapping[str, Any],
        translator: TenantTranslator,
        words: Sequence[str],
    ) -> tuple[Sequence[Mapping[str, Any]], Sequence[str]]:
        """Run `dbt source freshness` in dbt Cloud, and fail unless it has results."""
        try:
            run = self._finished(context, words)
            measured = run.artifact("sources.json")
        except DbtCloudError as error:
            raise dg.Failure("\n".join(str(problem) for problem in error.problems)) from error
        if measured is None:
            told = " ".join(run.errors()) or "it has no results"
            raise cloud_failure(run, Problem("dbt source freshness", told, "See the run's log."))
        return measured["results"], run.errors()

    def _finished(
        self, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, words: Sequence[str]
    ) -> CloudRun:
        run = self._start(f"Dagster run {context.run.run_id}", words)
        context.log.info(f"dbt Cloud run {run.id}: {run.url}")
        run.follow(_to_compute_log, context.log.warning)
        return run

    def _start(self, cause: str, words: Sequence[str]) -> CloudRun:
        if self.connection is None:
            raise dg.Failure(str(NOT_CONNECTED))
        cloud = open_workspace(self.connection)
        client = cloud.get_client()
        if self.adhoc_job_id is not None:
            try:
                return trigger(client, self.adhoc_job_id, cause, words)
            except DbtCloudError as error:
                if error.status != 404:  # somebody may have deleted the job
                    raise
        return trigger(client, cloud.adhoc_job_id(), cause, words)


def cloud_failure(run: CloudRun, problem: Problem) -> dg.Failure:
    """A run's failure: dbt's own words, then where to look."""
    return dg.Failure(f"{problem}\n{where_to_look(run)}", metadata={"dbt_cloud_run": dg.MetadataValue.url(run.url)})


def where_to_look(run: CloudRun) -> Problem:
    """The last line of a failure: the run's page."""
    status = str(run.details.get("status_humanized") or "not well").lower()
    return Problem("dbt Cloud", f"run {run.id} ended: {status}", f"See {run.url}")


def with_slim_ids(results: Mapping[str, Any], wanted: Collection[str] | None = None) -> dict[str, Any]:
    """dbt's results by the slim manifest's ids, without what did not run: a test that was skipped has not failed.

    Args:
        results: `run_results.json`.
        wanted: the ids that count; None: all.
    """
    named = [{**result, "unique_id": slim_id(result["unique_id"])} for result in results["results"]]
    kept = [
        result
        for result in named
        if result["status"] != "skipped" and (wanted is None or result["unique_id"] in wanted)
    ]
    return {**results, "results": kept}


def _events(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
    run: CloudRun,
    results: Mapping[str, Any] | None,
    manifest: Mapping[str, Any],
    translator: TenantTranslator,
    selected: Collection[str],
) -> Iterator[DagsterDbtEvent]:
    if results is None:
        return
    told = DbtCloudJobRunResults(run_id=run.id, run_results=with_slim_ids(results, selected))
    # A check's own context lacks what is asked of it here.
    asked = context if isinstance(context, dg.AssetExecutionContext) else context.op_execution_context
    yield from told.to_default_asset_events(run.client, manifest, translator, asked)  # type: ignore[arg-type]


def _to_compute_log(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
