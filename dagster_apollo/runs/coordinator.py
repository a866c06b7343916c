"""The instance's run coordinator: a run that the limits allow begins in the moment in which it is submitted.

Every run is put in the queue first, so that none is lost, and taken out of it at once by the process that submitted it
if it is its turn. The queue itself is `queue.py`.
"""

from __future__ import annotations

import logging
import os
import threading

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from dagster_apollo.errors import ProblemsError
from dagster_apollo.runs.daemon_internals import LaunchRunContext, QueuedRunCoordinator, SubmitRunContext
from dagster_apollo.runs.launcher import LaunchesSome
from dagster_apollo.runs.liveness import instance_locks
from dagster_apollo.runs.queue import Queue

_log = logging.getLogger("dagster_apollo.queue")


class ImmediateRunCoordinator(QueuedRunCoordinator[dg.DagsterInstance]):
    """Named by `dagster.yaml`, with the configuration of Dagster's own."""

    _making = threading.Lock()
    _made: Queue | None = None

    @property
    def queue(self) -> Queue:
        """The instance's queue, as this process takes part in it."""
        with self._making:
            self._made = self._made or Queue(self._instance, instance_locks(self._instance, os.environ))
            return self._made

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Queue a run, and launch it if it is its turn."""
        queued = super().submit_run(context)
        if queued.status != dg.DagsterRunStatus.QUEUED or not self._is_launched_here(queued, context):
            return queued
        try:
            claimed = self.queue.claim(only=[queued.run_id])
        except SQLAlchemyError as error:
            _log.warning("run %s is left to the daemon: %s", queued.run_id, type(error).__name__)
            return queued
        for run in claimed:
            self.queue.begin(run, context.workspace)
        return self._instance.get_run_by_id(queued.run_id) or queued

    def _is_launched_here(self, run: dg.DagsterRun, context: SubmitRunContext) -> bool:
        """Whether this process may launch a run: only the daemon has rights over engines elsewhere."""
        launcher = self._instance.run_launcher
        if not isinstance(launcher, LaunchesSome):
            return True
        try:
            return launcher.launches_here(LaunchRunContext(run, context.workspace))
        except (dg.DagsterError, ProblemsError) as error:  # the queue says so, where the run is shown
            _log.warning("run %s is left to the daemon: %s", run.run_id, type(error).__name__)
            return False

    def cancel_run(self, run_id: str) -> bool:
        """Cancel a run, in the queue or wherever it is; while this looks where, nobody begins it."""
        with self.queue.alone():
            run = self._instance.get_run_by_id(run_id)
            if run and run.status == dg.DagsterRunStatus.QUEUED:
                return super().cancel_run(run_id)
        return super().cancel_run(run_id)
