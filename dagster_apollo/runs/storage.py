"""Dagster's storage: Postgres where DAGSTER_PG_URI is set, SQLite under DAGSTER_HOME where it is not.

One class in `dagster.yaml`, so that the same file serves a laptop and a deployment. On Postgres all that a process asks
goes through one pool; a run that is forked from a warm process has the way prepared before the fork and keeps its
events in a buffer after it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dagster import AssetKey, DagsterInstance

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.runs.event_buffer import MOST_AT_ONCE
from dagster_apollo.runs.event_log import PooledEventLogStorage
from dagster_apollo.runs.patience import Patience
from dagster_apollo.runs.place import dagster_home, database_url
from dagster_apollo.runs.pooled_storages import PooledRunStorage, PooledScheduleStorage
from dagster_apollo.runs.pools import RUN, Width
from dagster_apollo.runs.storage_internals import (
    ConfigurableClass,
    ConfigurableClassData,
    DagsterSqliteStorage,
    DagsterStorage,
    EventLogStorage,
    RunStorage,
    ScheduleStorage,
)

_NO_RUN = "00000000-0000-0000-0000-000000000000"
_log = logging.getLogger("dagster_apollo.storage")


class PooledPostgresStorage(DagsterStorage):
    """Runs, event logs and schedules in one Postgres, over one pool.

    Args:
        url: of the database, with its driver.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._runs = PooledRunStorage(url)
        self._events = PooledEventLogStorage(url)
        self._schedules = PooledScheduleStorage(url)

    @property
    def event_log_storage(self) -> EventLogStorage:
        return self._events

    @property
    def run_storage(self) -> RunStorage:
        return self._runs

    @property
    def schedule_storage(self) -> ScheduleStorage:
        return self._schedules


class InstanceStorage(DagsterStorage, ConfigurableClass):
    """Runs, event logs and schedules in one database.

    Args:
        backing: the storage that does the work.
        inst_data: how `dagster.yaml` named this class.
    """

    def __init__(self, backing: DagsterStorage, inst_data: ConfigurableClassData | None = None) -> None:
        self._backing = backing
        self._inst_data = inst_data
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
    ) -> InstanceStorage:
        """Choose by the environment; the scheme is spelt out, since what a bare one means changes with SQLAlchemy."""
        if url := database_url(os.environ):
            return cls(PooledPostgresStorage(url), inst_data)
        # Dagster's own commands, typed in the root with no DAGSTER_HOME, read this too: they see what `make dev` keeps.
        home = dagster_home(os.environ, repository_root())
        return cls(DagsterSqliteStorage.from_local(str(home / "storage")), inst_data)

    def register_instance(self, instance: DagsterInstance) -> None:
        super().register_instance(instance)
        self._backing.register_instance(instance)

    @property
    def event_log_storage(self) -> EventLogStorage:
        return self._backing.event_log_storage

    @property
    def run_storage(self) -> RunStorage:
        return self._backing.run_storage

    @property
    def schedule_storage(self) -> ScheduleStorage:
        return self._backing.schedule_storage


def widen(instance: DagsterInstance, width: Width) -> None:
    """Give a process's pool the width of its part; nothing on SQLite.

    Whoever has one also launches: what a run is going to build is then stored together, which Dagster does where this
    variable says how much at the most.

    Args:
        instance: the process's.
        width: one of `pools.py`.
    """
    if isinstance(instance.event_log_storage, PooledEventLogStorage):
        instance.event_log_storage.pool.widen(width)
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(MOST_AT_ONCE))


def prepare(instance: DagsterInstance) -> None:
    """In a warm process, before it forks: ask what every run asks first, then close every connection.

    What is learnt about the schema, and the statements as they were compiled, are there in each fork. On SQLite, where
    there is no connection to keep, nothing is done.

    Args:
        instance: the process's; a fork goes on with it.
    """
    events, runs = instance.event_log_storage, instance.run_storage
    if not isinstance(events, PooledEventLogStorage):
        return
    events.pool.widen(RUN)
    events.learn_schema()
    instance.get_run_by_id(_NO_RUN)
    runs.has_job_snapshot(_NO_RUN)
    runs.has_execution_plan_snapshot(_NO_RUN)
    runs.get_run_tags(tag_keys=[_NO_RUN], limit=1)
    events.get_asset_records([AssetKey(_NO_RUN)])
    events.get_logs_for_run(_NO_RUN)
    events.check_concurrency_claim(_NO_RUN, _NO_RUN, _NO_RUN)
    events.pool.close()


def open_connections(instance: DagsterInstance) -> int:
    """How many connections to the database this process's storages have: none, before a fork."""
    events = instance.event_log_storage
    return events.pool.open_connections() if isinstance(events, PooledEventLogStorage) else 0


@contextmanager
def buffered(instance: DagsterInstance) -> Iterator[None]:
    """In a run's process, after the fork: gather its events, and wait out a database that is away.

    Raises:
        Exception: at the end, when an event could not be stored.
    """
    start_buffer(instance)
    try:
        yield
    finally:
        stop_buffer(instance)


def start_buffer(instance: DagsterInstance) -> None:
    """What `buffered` does at its beginning; nothing on SQLite."""
    events, runs = instance.event_log_storage, instance.run_storage
    if isinstance(events, PooledEventLogStorage) and isinstance(runs, PooledRunStorage):
        events.pool.widen(RUN)
        patience = Patience(tell=_log.warning)
        events.be_patient(patience)
        runs.be_patient(patience)
        events.start_buffer()


def stop_buffer(instance: DagsterInstance) -> None:
    """What `buffered` does at its end: all events are stored, and no connection is open.

    Raises:
        Exception: an event could not be stored.
    """
    events = instance.event_log_storage
    if isinstance(events, PooledEventLogStorage):
        try:
            events.stop_buffer()
        finally:
            events.pool.close()
