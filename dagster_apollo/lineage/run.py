"""One Dagster run as OpenLineage sees it: its start, what each dbt invocation built, its end.

What goes wrong here is a warning in the run's log and nothing else. How Dagster comes by it is `resource.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import orjson
from openlineage.client import set_producer
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.facet_v2 import job_type_job, processing_engine_run

from dagster_apollo.lineage.artifacts import Invocation, RunNames, events_of
from dagster_apollo.lineage.datasets import warehouse
from dagster_apollo.lineage.sending import Receiver, Sender

# Of assets that are launched without a job of their own.
_AD_HOC_JOB = "__ASSET_JOB"
# https://docs.dagster.io/deployment/tags
_PARTITION_TAGS = (
    ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"),
    ("dagster/partition", "dagster/partition"),
)


class RunLineage:
    """Tells a receiver of one run.

    Args:
        context: of the resource that holds it.
        tenant: the tenant's id.
        namespace: the namespace of jobs.
        receiver: who is told.
        profile: the tenant's dbt profile, `target` and `outputs`.
        timezone: the IANA time zone of daily partitions.
    """

    def __init__(
        self,
        context: dg.InitResourceContext,
        tenant: str,
        namespace: str,
        receiver: Receiver,
        profile: Mapping[str, Any],
        timezone: str,
    ) -> None:
        run = context.run
        assert run is not None  # noqa: S101  a resource of a run
        self._context = context
        self._receiver = receiver
        self._profile = profile
        self._producer = f"urn:dagster-apollo:{version('dagster-apollo')}"
        set_producer(self._producer)
        job = "assets" if run.job_name.startswith(_AD_HOC_JOB) else run.job_name.removeprefix(f"{tenant}__")
        self._names = RunNames(
            namespace, tenant, f"{tenant}.{job}", run.run_id, self._producer, _partitions(run.tags, timezone)
        )
        self._sender = Sender(receiver)

    def started(self) -> None:
        """The run begins."""
        event = self._event(RunState.START)
        self._sender.send(lambda: [event])

    def built(self, target_path: Path) -> None:
        """A dbt invocation has ended.

        Args:
            target_path: where it left its artifacts; they may be removed afterwards.
        """
        try:
            results = target_path.joinpath("run_results.json").read_bytes()
        except OSError:
            return  # dbt ended before it ran anything
        try:
            manifest = target_path.joinpath("manifest.json").read_bytes()
        except OSError:
            manifest = b""
        self._sender.send(lambda: events_of(self._invocation(manifest, results), self._names))

    def ended(self) -> None:
        """The run ends; says in its log what the receiver did not get."""
        state = self._outcome()
        event = self._event(state)
        self._sender.send(lambda: [event])
        self._sender.close()
        log = self._context.log
        if self._sender.lost and log:
            log.warning(
                f"OpenLineage: {self._sender.lost} of this run's events did not reach {self._receiver.url}: "
                f"{self._sender.reason}. Nothing else of the run is affected."
            )

    def _invocation(self, manifest: bytes, results: bytes) -> Invocation:
        if not manifest:
            raise ValueError("dbt left no manifest.json")
        loaded = orjson.loads(results)
        target = loaded.get("args", {}).get("target") or self._profile["target"]
        output = self._profile["outputs"].get(target) or self._profile["outputs"][self._profile["target"]]
        return Invocation(orjson.loads(manifest), loaded, warehouse(output))

    def _event(self, state: RunState) -> RunEvent:
        engine = processing_engine_run.ProcessingEngineRunFacet(name="dagster", version=version("dagster"))
        kind = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="DAGSTER", jobType="JOB")
        return RunEvent(
            eventType=state,
            eventTime=datetime.now(UTC).isoformat(),
            run=Run(self._names.run_id, {"processing_engine": engine, **self._names.nominal_time()}),
            job=Job(self._names.namespace, self._names.job, {"jobType": kind}),
            producer=self._producer,
        )

    def _outcome(self) -> RunState:
        instance, run_id = self._context.instance, self._names.run_id
        try:
            assert instance is not None  # noqa: S101
            run = instance.get_run_by_id(run_id)
            if run is not None and run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED):
                return RunState.ABORT
            steps = instance.get_run_step_stats(run_id)
        except Exception:  # the database is away: the run itself says so
            return RunState.OTHER
        failed = any(step.status is not None and step.status.value == "FAILURE" for step in steps)
        return RunState.FAIL if failed else RunState.COMPLETE


def _partitions(tags: Mapping[str, str], timezone: str) -> tuple[datetime, datetime] | None:
    """From the first instant of a run's first day to that of the day after its last; None without daily partitions."""
    for first, last in _PARTITION_TAGS:
        if first in tags and last in tags:
            try:
                days = date.fromisoformat(tags[first]), date.fromisoformat(tags[last]) + timedelta(days=1)
            except ValueError:
                return None  # partitions of another kind
            start, end = (datetime.combine(day, time(), ZoneInfo(timezone)) for day in days)
            return start, end
    return None
