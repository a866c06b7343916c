"""A run in its own process, forked from the tenant's warm one: what Dagster's own run process does, with what is there.

Its dbt is forked from beside it. How the process comes to be, and what becomes of it, is `runs.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress

import dagster as dg

from dagster_apollo.dbt.stream import DEBUG_EVENTS
from dagster_apollo.execution.starter import use_forks
from dagster_apollo.warm.dagster_internals import (
    EngineEventData,
    ExecuteExternalJobArgs,
    RemoteJobOrigin,
    StartRunResult,
    capture_interrupts,
    core_execute_run,
    deserialize_value,
    instance_of,
    job_of,
    leave_plan_unread,
    serializable_error_info_from_exc_info,
    serialize_value,
)
from dagster_apollo.warm.dbt_fork import be_dbt
from dagster_apollo.warm.dbt_forks import ForkedDbts
from dagster_apollo.warm.warming import Warm

# How a run's events are recorded while it lasts: buffered, where the storage can.
Recording = Callable[[dg.DagsterInstance], AbstractContextManager[object]]


def execute(warm: Warm, execute_run_args: str, say: Callable[[str], None], recording: Recording = nullcontext) -> int:
    """Execute a run in this process, which was forked for it and has done nothing yet.

    Args:
        warm: the tenant.
        execute_run_args: what the gRPC call StartRun brings.
        say: is given, once, what StartRun answers.
        recording: how the run's events are recorded.

    Returns:
        The exit code: 0 whenever it has been said, in the answer or in the run's log, what became of the run.
    """
    os.setsid()
    forks = _forks(warm)
    try:
        with capture_interrupts():
            return _execute(warm, execute_run_args, say, recording)
    finally:
        if forks:
            forks.close()


def _forks(warm: Warm) -> ForkedDbts | None:
    """The dbt parent, forked while this process has neither thread nor connection."""
    if warm.manifest is None:
        return None
    manifest, file, tenant = warm.manifest, warm.manifest_file, warm.workspace.tenant
    read = None if tenant.config.log_level == "debug" else DEBUG_EVENTS
    forks = ForkedDbts(tenant.project_dir, lambda request, output: be_dbt(request, output, manifest, file, read))
    use_forks(forks)
    return forks


def _execute(warm: Warm, execute_run_args: str, say: Callable[[str], None], recording: Recording) -> int:
    try:
        origin, instance, run = _recorded_run(warm, execute_run_args)
        job = job_of(warm.repository, origin.job_name)
    except Exception:
        error = serializable_error_info_from_exc_info(sys.exc_info())
        message = f"the run cannot be started: {error.message}"
        say(serialize_value(StartRunResult(success=False, message=message, serializable_error_info=error)))
        return 0
    say(serialize_value(StartRunResult(success=True, message=None, serializable_error_info=None)))
    leave_plan_unread()
    pid = os.getpid()
    with recording(instance):
        instance.report_engine_event(f"Started process for run (pid: {pid}).", run, EngineEventData.in_process(pid))
        with suppress(BaseException):  # Dagster has written it to the run's log
            for _ in core_execute_run(job, run, instance, inject_env_vars=False):
                pass
        instance.report_engine_event(f"Process for run exited (pid: {pid}).", run)
    return 0


def _recorded_run(warm: Warm, execute_run_args: str) -> tuple[RemoteJobOrigin, dg.DagsterInstance, dg.DagsterRun]:
    """What is to be run, where that is recorded, and the record.

    Raises:
        LookupError: there is no such run.
    """
    wanted = deserialize_value(execute_run_args, ExecuteExternalJobArgs)
    instance = warm.instance or instance_of(wanted)
    run = instance.get_run_by_id(wanted.run_id)
    if run is None:
        raise LookupError(f"there is no run {wanted.run_id} in the storage of this code location")
    return wanted.job_origin, instance, run
