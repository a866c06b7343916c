"""Which queued runs may begin, and beginning them: by whoever asks, webserver or daemon, under one lock.

Order and limits are Dagster's own, applied to the whole queue. What is ours: choosing a run and marking it as begun is
one step that nobody else's can cross, and a run whose code location is away stays in the queue. Launching happens
outside the lock. The daemon looks after the queue every second, for what had to wait.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Collection, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import dagster as dg
from dagster import DagsterEvent, DagsterEventType

from dagster_apollo.runs.capacity import with_capacity
from dagster_apollo.runs.daemon_internals import (
    BaseWorkspaceRequestContext,
    EngineEventData,
    IWorkspaceProcessContext,
    LaunchRunContext,
    QueuedRunCoordinatorDaemon,
    pause,
    serializable_error_info_from_exc_info,
)
from dagster_apollo.runs.database_locks import Locks
from dagster_apollo.runs.launcher import CodeHostAwayError

LOCK = "queue"
_log = logging.getLogger("dagster_apollo.queue")
# A location that is away is asked again after these waits, in seconds; its runs are given up after an hour.
_PAUSES_SECONDS = (2.0, 5.0, 10.0, 20.0, 30.0)
_GIVE_UP_SECONDS = 3600.0
# That it was away is forgotten when nobody asked for so long after its pause: an answer is waited for a minute.
_FORGET_SECONDS = 300.0
_LAUNCHERS = 8


class Queue:
    """The queue of an instance, as one process takes part in it.

    Args:
        instance: Dagster's; of the webserver the real one, since limits count everybody's runs.
        locks: the instance's.
    """

    def __init__(self, instance: dg.DagsterInstance, locks: Locks) -> None:
        self._instance, self._locks = instance, locks
        self._dagsters = QueuedRunCoordinatorDaemon(interval_seconds=1)
        self._away: dict[str, tuple[int, float, float]] = {}  # times asked, first asked, asked again from then on
        self._launchers: ThreadPoolExecutor | None = None
        self._launching: set[Future[None]] = set()

    def launch_by(self, launchers: ThreadPoolExecutor) -> None:
        """Launch by these threads from now on: a daemon that submits many runs does not wait for each."""
        self._launchers = launchers

    def begin(self, run: dg.DagsterRun, workspace: BaseWorkspaceRequestContext) -> None:
        """Launch a run that was claimed, here or by the threads that there are for it."""
        if self._launchers:
            launching = self._launchers.submit(self.launch, run, workspace)
            self._launching.add(launching)
            launching.add_done_callback(self._launching.discard)
        else:
            self.launch(run, workspace)

    def claim(self, only: Collection[str] | None = None) -> list[dg.DagsterRun]:
        """Mark those queued runs as begun that may begin now, and return them: they are this process's to launch.

        No more than there are threads to launch them: a run that is marked and waits would be taken for dead.

        Args:
            only: these alone, if it is their turn; None: all.
        """
        claimed: list[dg.DagsterRun] = []
        try:
            with self.alone():
                idle = max(0, _LAUNCHERS - len(self._launching)) if self._launchers else None
                for run in islice(self._marked(only), idle):
                    claimed.append(run)
        except Exception:
            if not claimed:
                raise
            _log.exception("the queue cannot be looked at any further now")
        return claimed

    def _marked(self, only: Collection[str] | None) -> Iterator[dg.DagsterRun]:
        config = with_capacity(self._instance, self._instance.get_concurrency_config())
        for chosen in self._dagsters._get_runs_to_dequeue(self._instance, config, None):
            if only is not None and chosen.run_id not in only:
                continue
            run = self._instance.get_run_by_id(chosen.run_id)
            if run is None or run.status != dg.DagsterRunStatus.QUEUED:
                continue
            starting = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, run.job_name)
            self._instance.report_dagster_event(starting, run_id=run.run_id)
            begun = self._instance.get_run_by_id(run.run_id)
            if begun is not None:
                yield begun

    def alone(self) -> AbstractContextManager[None]:
        """While it lasts nobody claims anything."""
        return self._locks.alone(LOCK)

    def launch(self, run: dg.DagsterRun, workspace: BaseWorkspaceRequestContext) -> None:
        """Launch a run that was claimed; one whose code host is away goes back into the queue."""
        try:
            now = self._instance.get_run_by_id(run.run_id)
            if now is None or now.status != dg.DagsterRunStatus.STARTING:
                return  # cancelled meanwhile
            self._instance.run_launcher.launch_run(LaunchRunContext(run, workspace))
        except CodeHostAwayError as away:
            self._put_back(run, away)
        except Exception:
            _log.exception("run %s cannot be launched", run.run_id)
            now = self._instance.get_run_by_id(run.run_id)
            if now and not now.is_finished and now.status == dg.DagsterRunStatus.STARTING:
                told = EngineEventData.engine_error(serializable_error_info_from_exc_info(sys.exc_info()))
                self._instance.report_engine_event("The run cannot be launched.", now, told)
                self._instance.report_run_failed(now, "The run could not be launched.")
        else:
            if self._away.pop(_location(run), None):
                pause(self._dagsters, _location(run), 0.0)

    def _put_back(self, run: dg.DagsterRun, away: CodeHostAwayError) -> None:
        times, since = self._asked_in_vain(_location(run))
        found = self._instance.get_run_by_id(run.run_id)
        if found is None or found.status != dg.DagsterRunStatus.STARTING:
            return  # cancelled meanwhile
        if time.monotonic() - since > _GIVE_UP_SECONDS:
            self._instance.report_run_failed(found, f"The run could not be launched within an hour: {away}")
            return
        if times == 1:
            self._instance.report_engine_event(f"The run waits for its code location: {away}", found)
        _log.warning("run %s goes back into the queue: %s", run.run_id, away)
        self._instance.report_dagster_event(DagsterEvent.job_enqueue(found), run_id=run.run_id)

    def _asked_in_vain(self, location: str) -> tuple[int, float]:
        """Pause a location that is away; how often it was asked, several runs at once for once, and since when."""
        now = time.monotonic()
        times, since, again = self._away.get(location, (0, now, now))
        if now > again + _FORGET_SECONDS:
            times, since = 0, now
        if not times or now >= again:
            seconds = _PAUSES_SECONDS[min(times, len(_PAUSES_SECONDS) - 1)]
            times += 1
            self._away[location] = times, since, now + seconds
            pause(self._dagsters, location, seconds)
        return times, since


class QueueDaemon(QueuedRunCoordinatorDaemon):
    """The daemon's part: whatever is in the queue and may begin is begun, several at a time.

    Args:
        queue: of the daemon's instance.
        interval_seconds: how often it is looked at.
    """

    def __init__(self, queue: Queue, interval_seconds: float) -> None:
        super().__init__(interval_seconds)
        self._queue = queue
        self._launchers = ThreadPoolExecutor(_LAUNCHERS, thread_name_prefix="launch")
        queue.launch_by(self._launchers)

    def __exit__(self, *error: Any) -> None:
        self._launchers.shutdown()  # what was claimed is launched
        super().__exit__(*error)

    def run_iteration(
        self, workspace_process_context: IWorkspaceProcessContext[Any], fixed_iteration_time: float | None = None
    ) -> Generator[Any, None, None]:
        """Claim what may begin, and have it launched while the queue is looked after on."""
        queued = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
        if not workspace_process_context.instance.get_run_ids(queued, limit=1):
            yield None
            return
        workspace = workspace_process_context.create_request_context()
        for run in self._queue.claim():
            self._queue.begin(run, workspace)
        yield None  # at the daemon's end nothing comes after this


def _location(run: dg.DagsterRun) -> str:
    origin = run.remote_job_origin
    return origin.location_name if origin else ""
