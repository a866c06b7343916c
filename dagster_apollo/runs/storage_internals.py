"""What our storages use of Dagster's beyond its public names, in one place.

Dagster's storages are made to be inherited from, but what one overrides to do so carries an underscore. A test holds
each name, and each member that is overridden or called, to the form used here.

`create_snapshot_id`, `serialize_value`: Dagster puts a run's plan into words three times when it makes the run, for its
id, for the id again and to store it. Of a project of a thousand models that is most of what making a run of one takes.
"""

from functools import cache
from typing import Any

from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.snap import ExecutionPlanSnapshot, execution_plan_snapshot
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.migration import ASSET_KEY_INDEX_COLS
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage, run_storage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from dagster_shared.serdes.utils import hash_str

__all__ = [
    "ASSET_CHECK_EVENTS",
    "ASSET_EVENTS",
    "ASSET_KEY_INDEX_COLS",
    "AssetCheckExecutionsTable",
    "AssetEventTagsTable",
    "AssetKeyTable",
    "ConfigurableClass",
    "ConfigurableClassData",
    "DagsterSqliteStorage",
    "DagsterStorage",
    "EventLogEntry",
    "EventLogStorage",
    "PostgresEventLogStorage",
    "PostgresRunStorage",
    "PostgresScheduleStorage",
    "RunStorage",
    "ScheduleStorage",
    "SqlEventLogStorageTable",
    "say_plans_once",
]


@cache
def say_plans_once() -> None:
    """Have this process keep the words of the last plan that it was asked for."""
    last: list[tuple[ExecutionPlanSnapshot, str]] = []

    def identify(snapshot: ExecutionPlanSnapshot) -> str:
        if (words := _words_of(snapshot, last)) is None:
            words = serialize_value(snapshot)
            last[:] = [(snapshot, words)]
        return hash_str(words)

    def say(value: Any) -> str:
        words = _words_of(value, last)
        return serialize_value(value) if words is None else words

    execution_plan_snapshot.create_snapshot_id = identify  # type: ignore[assignment]
    run_storage.serialize_value = say  # type: ignore[assignment]


def _words_of(value: Any, last: list[tuple[ExecutionPlanSnapshot, str]]) -> str | None:
    """Of this very plan: another thread may have asked for another one."""
    return next((words for plan, words in list(last) if plan is value), None)
