"""The instance's run launcher on the code host: launches over a location's gRPC server, and knows whether a run lives.

Dagster's own launcher does the first and not the second, so that a run whose process is gone stays in progress for
ever. Three things are told apart here that look alike from afar: a code host that cannot be reached, so that nothing
was begun; an answer that got lost, so that nobody knows; a process that is gone.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from typing import Protocol, cast, runtime_checkable

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from dagster_apollo.errors import HostError, Problem
from dagster_apollo.runs.daemon_internals import (
    AWAY,
    GRPC_INFO_TAG,
    CheckRunHealthResult,
    ConfigurableClassData,
    DagsterGrpcClient,
    DagsterUserCodeUnreachableError,
    DefaultRunLauncher,
    GrpcServerCodeLocation,
    LaunchRunContext,
    WorkerStatus,
    current_runs,
)
from dagster_apollo.runs.database_locks import Locks
from dagster_apollo.runs.liveness import instance_locks, living

_log = logging.getLogger("dagster_apollo.launcher")
# For so long, in seconds, a run may be seen nowhere before it counts as gone: a process that lost its connection to
# the database needs a moment to come back, one that is being started to appear, a code host to be restarted.
GONE_SECONDS = 12.0
SILENT_SECONDS = 30.0
STARTING_SECONDS = 40.0
# Whether a code host can be reached is known after this, well before a run that waits for it counts as gone.
_REACHED_SECONDS = 10
# What a code host says that is told to end: Dagster's own server, and ours.
_REFUSALS = ("after telling it to shut down", "takes no new run")
# What is known of a code server's runs is asked anew after this.
_ASKED_SECONDS = 1.0


class CodeHostAwayError(HostError):
    """A run was not begun, since its code location cannot be reached now."""

    heading = "a code location cannot be reached"

    def __str__(self) -> str:
        return "; ".join(f"{problem.where}: {problem.what}" for problem in self.problems)


@runtime_checkable
class LaunchesSome(Protocol):
    """A launcher that only some processes may launch some runs with."""

    def launches_here(self, context: LaunchRunContext) -> bool:
        """Whether this process may launch a run; else it stays in the queue for the daemon."""


class CodeHostRunLauncher(DefaultRunLauncher):
    """Named by `dagster.yaml`; takes no configuration."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._making = threading.Lock()
        self._made: Locks | None = None
        self._unseen: dict[str, float] = {}  # runs that are nowhere, since when
        self._asked: dict[str, tuple[float, set[str] | None]] = {}  # code servers' runs, as they said when

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run. For how long it was seen nowhere counts from here on.

        Raises:
            CodeHostAwayError: nothing was begun, and it may be tried again.
        """
        run_id = context.dagster_run.run_id
        self._unseen.pop(run_id, None)
        try:
            self._launch(context)
        finally:
            self._unseen.pop(run_id, None)

    def _launch(self, context: LaunchRunContext) -> None:
        run, workspace = context.dagster_run, context.workspace
        origin = run.remote_job_origin
        if origin is None or workspace is None:
            super().launch_run(context)  # which says what is missing
            return
        name = origin.location_name
        try:
            location = cast("GrpcServerCodeLocation", workspace.get_code_location(name))
            location.client.get_server_id(timeout=_REACHED_SECONDS)
        except AWAY as error:
            raise _away(name, f"cannot be reached ({type(error).__name__})") from error
        try:
            super().launch_run(context)
        except DagsterUserCodeUnreachableError as error:
            # It may be executing by now. If it is not, the watch over runs finds nobody that is, and it is taken up.
            _log.warning("run %s: no answer to its launch: %s", run.run_id, error)
        except dg.DagsterError as error:
            if any(words in str(error) for words in _REFUSALS):
                raise _away(name, "takes no new run now") from error
            raise

    def terminate(self, run_id: str) -> bool:
        """Cancel a run: by its code server, else by itself, else by saying what is so already.

        A process that nobody reaches looks at its run now and then, and stops itself when it is being cancelled.
        """
        try:
            if super().terminate(run_id):
                return True
        except DagsterUserCodeUnreachableError as error:
            _log.warning("run %s: cannot be cancelled by its code server: %s", run_id, error)
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        return bool(living(self._locks, [run_id]))

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether a run's process is at work somewhere; one that was seen nowhere for a while is gone.

        Raises:
            SQLAlchemyError: the database is away: nobody can tell.
        """
        try:
            lives = living(self._locks, [run.run_id])
        except SQLAlchemyError:
            self._unseen.clear()  # whose connection broke with ours has to come back first
            raise
        problem = None if lives else self._not_at_its_server(run)
        if problem is None:
            self._unseen.pop(run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        what, patience = problem
        if run.status == dg.DagsterRunStatus.STARTING:
            patience = STARTING_SECONDS
        now = time.monotonic()
        unseen = now - self._unseen.setdefault(run.run_id, now)
        if unseen < patience:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"not seen for {unseen:.0f} s")
        self._unseen.pop(run.run_id, None)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, what)

    def _not_at_its_server(self, run: dg.DagsterRun) -> tuple[str, float] | None:
        """Why a run is not at its code server, and how long that may be so; None: it is there."""
        told = run.tags.get(GRPC_INFO_TAG)
        if told is None:
            return "it was about to be launched, and nobody did", STARTING_SECONDS
        place = json.loads(told)
        address = place.get("socket") or f"{place['host']}:{place['port']}"
        runs = self._runs_at(address, told)
        if runs is None:
            return f"the code host at {address} does not answer, and no process of the run lives", SILENT_SECONDS
        if run.run_id in runs:
            return None
        return f"its process is gone: it is not at {address} and nowhere else", GONE_SECONDS

    def _runs_at(self, address: str, told: str) -> set[str] | None:
        asked, runs = self._asked.get(address, (0.0, None))
        if time.monotonic() - asked > _ASKED_SECONDS:
            place = json.loads(told)
            client = DagsterGrpcClient(
                port=place.get("port"),
                socket=place.get("socket"),
                host=place.get("host") or "localhost",
                use_ssl=bool(place.get("use_ssl")),
            )
            try:
                runs = current_runs(client)
            except DagsterUserCodeUnreachableError:
                runs = None
            self._asked[address] = time.monotonic(), runs
        return runs

    @property
    def _locks(self) -> Locks:
        with self._making:
            self._made = self._made or instance_locks(self._instance, os.environ)
            return self._made


def _away(location: str, what: str) -> CodeHostAwayError:
    return CodeHostAwayError([Problem(location, what, "It is tried again.")])
