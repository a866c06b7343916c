"""The daemon's watch over runs in progress: one whose process is gone is marked within a minute, with what happened.

Dagster's own watch, for runs that take too long to start, to be cancelled or to end, follows after it. Taking a run up
again is `recovery.py`, which sees it end as it sees any other.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from typing import Any, Protocol, runtime_checkable

import dagster as dg

from dagster_apollo.runs.daemon_internals import (
    IWorkspaceProcessContext,
    JobFailureData,
    MonitoringDaemon,
    RunFailureReason,
    WorkerStatus,
)
from dagster_apollo.runs.recovery import succeed
from dagster_apollo.runs.remainder import remainder

_WATCHED = (
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_log = logging.getLogger("dagster_apollo.watch")


@runtime_checkable
class KeepsOrder(Protocol):
    """A launcher that has something to look after beside what a run's health tells."""

    def keep_order(self) -> None:
        """Look after it; called by the daemon alone, every few seconds."""


class WatchDaemon(MonitoringDaemon):
    """Dagster's monitoring daemon, which first looks whether the runs' processes live."""

    def run_iteration(self, workspace_process_context: IWorkspaceProcessContext[Any]) -> Generator[Any, None, None]:
        """Mark the runs that nobody executes any more, and have the launcher keep order."""
        yield from mark_the_dead(workspace_process_context.instance)
        launcher = workspace_process_context.instance.run_launcher
        if isinstance(launcher, KeepsOrder):
            launcher.keep_order()
        yield
        yield from super().run_iteration(workspace_process_context)


def mark_the_dead(instance: dg.DagsterInstance) -> Iterator[None]:
    """Mark each run in progress whose process is gone, by the launcher's word: failed, cancelled, or done after all."""
    if not instance.run_launcher.supports_check_run_worker_health:
        return
    for run in instance.get_runs(dg.RunsFilter(statuses=list(_WATCHED))):
        yield
        health = instance.run_launcher.check_run_worker_health(run)
        if health.status in (WorkerStatus.RUNNING, WorkerStatus.SUCCESS, WorkerStatus.UNKNOWN):
            continue
        now = instance.get_run_by_id(run.run_id)
        if now is None or now.status != run.status:
            continue  # it has just come on by itself
        _log.warning("run %s: %s", run.run_id, health.msg)
        _mark(instance, now, health.msg or "its process is gone")


def _mark(instance: dg.DagsterInstance, run: dg.DagsterRun, what: str) -> None:
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, f"It was to be cancelled, and {what}.")
        return
    left = remainder(instance, run)
    if left is not None and left.is_empty and left.ended:
        succeed(instance, run)
        return
    cause = JobFailureData(error=None, failure_reason=RunFailureReason.UNEXPECTED_TERMINATION)
    instance.report_run_failed(run, f"The run was interrupted: {what}.", cause)
