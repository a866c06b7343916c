"""The run launcher of `dagster.yaml`: each run goes where its tenant says, and is looked after there.

A code location says in its repository's metadata where its runs are executed; where a run went is a tag of it, which
holds also after the tenant has changed its mind. Only the daemon has rights over engines elsewhere: the webserver asks
a run to end by its status, which the run itself looks at, and the daemon after it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.elsewhere.dagster_internals import (
    CheckRunHealthResult,
    ConfigurableClass,
    ConfigurableClassData,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
    location_of,
    told_by_location,
)
from dagster_apollo.elsewhere.opening import open_place
from dagster_apollo.elsewhere.place import Place
from dagster_apollo.errors import Problem, ProblemsError, RunPlaceError
from dagster_apollo.fork import load_fork
from dagster_apollo.plans import ServicePlan
from dagster_apollo.run_places import ELSEWHERE, PLACE_KEY, PLACE_TAG, PLAN_KEY, RUN_PLACES, Elsewhere, RunPlace
from dagster_apollo.runs.launcher import CodeHostRunLauncher

# An image may have to be pulled before the engine knows a container.
STARTING_SECONDS = 120.0
# A run looks at its status every few seconds, and dbt then cancels its queries.
GRACE = timedelta(seconds=60)
_TIDY_SECONDS = 60.0
# For so long after a run failed it is looked whether it goes on.
_LOOK_BACK = timedelta(hours=1)
_log = logging.getLogger("dagster_apollo.runs")
_PLANS: tuple[ServicePlan, ...] = get_args(ServicePlan)


class ChoosingRunLauncher(RunLauncher, ConfigurableClass):
    """A launcher over launchers.

    Args:
        host: executes runs where the code is.
        open_elsewhere: makes an engine usable for this process.
        inst_data: how `dagster.yaml` named this class.
        starting_seconds: how long a run that starts may be nowhere.
    """

    def __init__(
        self,
        host: RunLauncher[DagsterInstance],
        open_elsewhere: Callable[[DagsterInstance, Elsewhere], Place],
        inst_data: ConfigurableClassData | None = None,
        starting_seconds: float = STARTING_SECONDS,
    ) -> None:
        self._host = host
        self._open = open_elsewhere
        self._opened: dict[Elsewhere, Place] = {}
        self._inst_data = inst_data
        self._starting_seconds = starting_seconds
        self._next_tidying = 0.0
        self._unseen: dict[str, float] = {}  # runs that start and are nowhere, since when
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> ChoosingRunLauncher:
        """For the fork that this package stands in, with this process's environment."""

        def opened(instance: DagsterInstance, place: Elsewhere) -> Place:
            return open_place(place, instance, load_fork(repository_root()), dict(os.environ))

        return cls(CodeHostRunLauncher(), opened, inst_data)

    def register_instance(self, instance: DagsterInstance) -> None:
        super().register_instance(instance)
        self._host.register_instance(instance)

    # ---- Launching. ----

    def launches_here(self, context: LaunchRunContext) -> bool:
        """Whether this process may launch a run; else it stays in the queue for the daemon."""
        place, _ = asked_of(context)
        return place == "host" or self._usable(place) is not None

    def launch_run(self, context: LaunchRunContext) -> None:
        """Have a run executed where its tenant says.

        Raises:
            RunPlaceError: there is no such place for this fork, or this process may not use it.
            RenderError: Render refuses, or cannot be reached.
        """
        run = context.dagster_run
        place, plan = asked_of(context)
        if place == "host":
            if run.tags.get(PLACE_TAG, "host") != "host":  # that of the run that this one takes up
                self._instance.add_run_tags(run.run_id, {PLACE_TAG: "host"})
            self._host.launch_run(context)
            return
        there = self._place(place)
        self._instance.add_run_tags(run.run_id, {PLACE_TAG: place})
        there.launch(run, location_of(run), plan)

    # ---- Looking after. ----

    def terminate(self, run_id: str) -> bool:
        """Ask a run to end; elsewhere it does when it next looks at its status.

        Returns:
            Whether it had not ended yet.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or place_of(run) == "host":
            return bool(self._host.terminate(run_id))
        if run.is_finished:
            return False
        if run.status != DagsterRunStatus.CANCELING:
            self._instance.report_run_canceling(run)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether a run is still being executed.

        Dagster fails a run of which this says anything but that it runs. An engine that does not answer for a moment
        says nothing of the run, which goes on: that counts as running, until the run's longest time is over.
        """
        place = place_of(run)
        if place == "host":
            if not self._host.supports_check_run_worker_health:
                return CheckRunHealthResult(WorkerStatus.RUNNING)
            return self._host.check_run_worker_health(run)
        try:
            found = self._place(place).health(run)
        except Exception as error:
            found = CheckRunHealthResult(WorkerStatus.UNKNOWN, f"{place} cannot be asked: {_told(error)}")
        if found.status == WorkerStatus.UNKNOWN:
            _log.warning("run %s: %s", run.run_id, found.msg)
            return CheckRunHealthResult(WorkerStatus.RUNNING, found.msg)
        if found.status == WorkerStatus.NOT_FOUND and run.status == DagsterRunStatus.STARTING:
            now = time.monotonic()
            unseen = now - self._unseen.setdefault(run.run_id, now)
            if unseen < self._starting_seconds:  # it is being asked for, perhaps by another process
                return CheckRunHealthResult(WorkerStatus.RUNNING, found.msg)
        self._unseen.pop(run.run_id, None)
        return found

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        if place_of(run) == "host":
            return self._host.get_run_worker_debug_info(run, include_container_logs)
        return self.check_run_worker_health(run).msg

    def dispose(self) -> None:
        self._host.dispose()

    def join(self, timeout: int = 30) -> None:
        self._host.join(timeout)

    # ---- What the daemon does besides. ----

    def keep_order(self) -> None:
        """End the runs elsewhere that were to end, and remove now and then what has ended."""
        for run_id in self.end_canceled(GRACE):
            _log.info("saw to the end of the canceled run %s", run_id)
        if time.monotonic() >= self._next_tidying:
            self._next_tidying = time.monotonic() + _TIDY_SECONDS
            for run_id in self.end_failed(GRACE):
                _log.info("saw to the end of the failed run %s", run_id)
            self.tidy()

    def end_canceled(self, grace: timedelta) -> list[str]:
        """End the runs elsewhere that were to end and did not, and note the end of those that are gone.

        Args:
            grace: how long a run has to end by itself.

        Returns:
            The runs that something was done about.
        """
        done = []
        records = self._instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.CANCELING]))
        for record in records:
            run, place = record.dagster_run, place_of(record.dagster_run)
            there = None if place == "host" else self._usable(place)
            if there is None:
                continue
            try:
                found = there.health(run)
                if found.status in (WorkerStatus.FAILED, WorkerStatus.SUCCESS, WorkerStatus.NOT_FOUND):
                    if self._is_still_canceling(run.run_id):
                        self._instance.report_run_canceled(run, f"The run was canceled: {found.msg}.")
                        done.append(run.run_id)
                elif _since(record.update_timestamp) > grace:
                    there.stop(run)
                    done.append(run.run_id)
            except Exception as error:
                _log.warning("run %s cannot be ended in %s now: %s", run.run_id, place, _told(error))
        return done

    def end_failed(self, grace: timedelta) -> list[str]:
        """End the runs elsewhere that were given up, as one is that took too long, and go on all the same.

        Args:
            grace: how long a run has to end by itself.

        Returns:
            The runs that something was done about.
        """
        done = []
        failed = RunsFilter(
            statuses=[DagsterRunStatus.FAILURE],
            tags={PLACE_TAG: list(ELSEWHERE)},
            updated_after=datetime.now(UTC) - _LOOK_BACK,
        )
        for record in self._instance.get_run_records(failed):
            run, place = record.dagster_run, place_of(record.dagster_run)
            there = None if place == "host" else self._usable(place)
            if there is None or _since(record.update_timestamp) <= grace:
                continue
            try:
                if there.health(run).status == WorkerStatus.RUNNING:
                    there.stop(run)
                    done.append(run.run_id)
            except Exception as error:
                _log.warning("run %s cannot be ended in %s now: %s", run.run_id, place, _told(error))
        return done

    def tidy(self) -> None:
        """Remove what ended runs left elsewhere."""
        for place in ELSEWHERE:
            if there := self._usable(place):
                try:
                    there.tidy(self._is_finished)
                except Exception as error:
                    _log.warning("%s cannot be tidied now: %s", place, _told(error))

    def _is_finished(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        return run is None or run.is_finished

    def _is_still_canceling(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        return run is not None and run.status == DagsterRunStatus.CANCELING

    # ---- Places. ----

    def _place(self, place: Elsewhere) -> Place:
        if place not in self._opened:
            self._opened[place] = self._open(self._instance, place)
        return self._opened[place]

    def _usable(self, place: Elsewhere) -> Place | None:
        try:
            return self._place(place)
        except ProblemsError:
            return None


def asked_of(context: LaunchRunContext) -> tuple[RunPlace, ServicePlan]:
    """Where a run's code location has its runs executed, and with how much.

    Raises:
        RunPlaceError: it names a place that there is none of.
    """
    told = told_by_location(context)
    place, plan = told.get(PLACE_KEY, "host"), told.get(PLAN_KEY, _PLANS[0])
    known = next((entry for entry in RUN_PLACES if entry == place), None)
    size = next((entry for entry in _PLANS if entry == plan), None)
    if known is None or size is None:
        remedy = "Deploy code host and daemon of the same release."
        what = f"asks for {place!r} with {plan!r}, which this release does not know"
        raise RunPlaceError([Problem(location_of(context.dagster_run), what, remedy)])
    return known, size


def place_of(run: DagsterRun) -> RunPlace:
    """Where a run was launched."""
    place = run.tags.get(PLACE_TAG)
    return next((entry for entry in RUN_PLACES if entry == place), "host")


def _since(moment: datetime) -> timedelta:
    return datetime.now(UTC) - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _told(error: Exception) -> str:
    return str(error.problems[0]) if isinstance(error, ProblemsError) else type(error).__name__
