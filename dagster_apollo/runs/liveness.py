"""A run's process says that it lives, by a lock that it holds as long as it executes the run.

Whoever wants to know whether a run is at work somewhere, on this host, on the one before the deploy or in a container,
looks whether its lock is held; nobody has to be reached for it. The other way round, a process whose run was meanwhile
given up, or is to be cancelled by somebody who cannot reach it, finds that out here and stops itself.
"""

import os
import signal
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from dagster_apollo.runs.database_locks import Locks, locks_of
from dagster_apollo.runs.kept_lock import KeptLock

LOOK_SECONDS = 5.0
# Who cancels reaches the process within this many looks, or else cannot.
_CANCELING_LOOKS = 3
_GIVEN_UP = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def instance_locks(instance: dg.DagsterInstance, environ: Mapping[str, str]) -> Locks:
    """The locks of an instance.

    Args:
        instance: Dagster's.
        environ: the process's variables.
    """
    return locks_of(environ, Path(instance.root_directory))


def living(locks: Locks, run_ids: Collection[str]) -> set[str]:
    """Those of some runs that a process is executing."""
    names = {_name(run_id): run_id for run_id in run_ids}
    return {names[name] for name in locks.held(names)}


@contextmanager
def alive(instance: dg.DagsterInstance, run_id: str, locks: Locks) -> Iterator[None]:
    """Say that this process executes a run, and be interrupted when the run is no longer to be executed.

    Starts a thread: whatever is to be forked is forked before.
    """
    canceling, interrupted = 0, False

    def look(held: bool | None) -> None:
        nonlocal canceling, interrupted
        if held is None or interrupted:
            return
        try:
            run = instance.get_run_by_id(run_id)
        except (SQLAlchemyError, dg.DagsterError):
            return
        canceling = canceling + 1 if run and run.status == dg.DagsterRunStatus.CANCELING else 0
        if run is None or run.status in _GIVEN_UP or canceling == _CANCELING_LOOKS:
            interrupted = True  # once: dbt is then given time to cancel its queries
            os.kill(os.getpid(), signal.SIGINT)  # what a code server does with a run that is cancelled

    with KeptLock(locks, _name(run_id), LOOK_SECONDS, look):
        yield


class LivingExecutor(dg.Executor):
    """Dagster's in-process executor in a process that says that it lives."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    @property
    def retries(self) -> Any:
        return self._executor.retries

    @property
    def step_dependency_config(self) -> Any:
        return self._executor.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Execute the steps in this process, its run's lock held."""
        instance = plan_context.instance
        if instance.is_ephemeral:
            yield from self._executor.execute(plan_context, execution_plan)
            return
        with alive(instance, plan_context.run_id, instance_locks(instance, os.environ)):
            yield from self._executor.execute(plan_context, execution_plan)


def _living(init_context: dg.InitExecutorContext) -> dg.Executor:
    create = dg.in_process_executor.executor_creation_fn
    assert create is not None  # noqa: S101
    return LivingExecutor(create(init_context))


# By the name and with the configuration of Dagster's own, so that nothing that a person has stored changes.
living_in_process_executor = dg.ExecutorDefinition(
    name="in_process",
    config_schema=dg.in_process_executor.config_schema,  # type: ignore[arg-type]
    executor_creation_fn=_living,
    description="All steps in the run's own process, which says that it lives.",
)


def _name(run_id: str) -> str:
    return f"run/{run_id}"
