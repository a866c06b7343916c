"""What the last daemon left behind, put in order by the next one: after it has the lock, and before it acts.

Runs are not the daemon's children here, so most of what it left is at work and is let be. Swept is what nobody does
any more: runs whose process is gone, and places in pools that ended runs still hold.
"""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from dagster_apollo.runs.watch import mark_the_dead


def sweep(instance: dg.DagsterInstance, say: Callable[[str], None]) -> None:
    """Put the last daemon's orphans in order; a run that is seen nowhere is looked for again by the watch.

    Args:
        instance: Dagster's.
        say: told of what was found.
    """
    try:
        freed = sum(_freed(instance, run_id) for run_id in _ended_with_places(instance))
        if freed:
            say(f"{freed} places in pools are free again that ended runs held")
        for _ in mark_the_dead(instance):
            pass
    except SQLAlchemyError as error:
        say(f"what the last daemon left is looked after later: {type(error).__name__}")


def _ended_with_places(instance: dg.DagsterInstance) -> list[str]:
    if not instance.event_log_storage.supports_global_concurrency_limits:
        return []
    run_ids = instance.event_log_storage.get_concurrency_run_ids()
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    return list(instance.get_run_ids(dg.RunsFilter(run_ids=list(run_ids), statuses=ended))) if run_ids else []


def _freed(instance: dg.DagsterInstance, run_id: str) -> int:
    return int(bool(instance.event_log_storage.free_concurrency_slots_for_run(run_id)))
