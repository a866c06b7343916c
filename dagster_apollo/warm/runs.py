"""A tenant's runs as its warm process sees them: forked, looked for, and cleared up after, however they ended.

What happens in a run's process is `run_process.py`. This one opens no connection: what is to be said of a run that was
killed is said by a fork of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import nullcontext, suppress

import dagster as dg

from dagster_apollo.warm.dagster_internals import get_run_crash_explanation
from dagster_apollo.warm.forking import fork
from dagster_apollo.warm.run_process import Recording, execute, recorded_run
from dagster_apollo.warm.warming import Warm


def fork_run(
    warm: Warm,
    execute_run_args: str,
    say: Callable[[str], None],
    recording: Recording = nullcontext,
    in_child: Callable[[], None] = lambda: None,
) -> int:
    """Start a run in a fork of this process.

    Args:
        warm: the tenant.
        execute_run_args: what the gRPC call StartRun brings.
        say: is given, once and in the child, what StartRun answers.
        recording: how the run's events are recorded.
        in_child: closes what the child must not hold.

    Returns:
        Its process id, which is that of its process group too.

    Raises:
        HostError: this process has several threads.
        OSError: there is no memory for it.
    """

    def child() -> int:
        in_child()
        return execute(warm, execute_run_args, say, recording)

    return fork(child)


def reap(warm: Warm, pid: int, run_id: str) -> int | None:
    """Whether a run's process has ended; then nothing is left of it, neither its dbt nor its files.

    Args:
        warm: the tenant.
        pid: of a run that this process has forked.
        run_id: the run.

    Returns:
        Its exit code, negative for a signal; None: it runs.
    """
    # Still a zombie, so that the number of its group cannot be somebody else's.
    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        return None
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    for left in warm.workspace.runs_dir.glob(f"{run_id}-*"):
        shutil.rmtree(left, ignore_errors=True)
    return os.waitstatus_to_exitcode(status)


def record_crash(warm: Warm, execute_run_args: str, code: int, in_child: Callable[[], None] = lambda: None) -> int:
    """Say in a run's log, from a fork of this process, that the run's own process is gone.

    Args:
        warm: the tenant.
        execute_run_args: what the run was started with.
        code: the exit code that `reap` told.
        in_child: closes what the child must not hold.

    Returns:
        The child's process id, to be waited for. It changes nothing of a run whose end is recorded.
    """

    def child() -> int:
        in_child()
        _, instance, run = recorded_run(warm, execute_run_args)
        if run.is_finished:
            return 0
        message = get_run_crash_explanation(f"Run execution process for {run.run_id}", code)
        instance.report_engine_event(message, run)
        if run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run)
        else:
            instance.report_run_failed(run)
        return 0

    return fork(child)
