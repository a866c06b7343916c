"""Dagster's storage: Postgres where DAGSTER_PG_URI is set, SQLite under DAGSTER_HOME where it is not.

One class in `dagster.yaml`, so that the same file serves a laptop and a deployment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dagster import DagsterInstance
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.host.instance import dagster_home
from dagster_apollo.settings import read
from dagster_apollo.silent_database import with_limits


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
        url = read({"DAGSTER_PG_URI": os.environ.get("DAGSTER_PG_URI", "")}).text("DAGSTER_PG_URI")
        if url:
            # Tables are made by `apollo migrate` alone: processes that start together would make them at once.
            return cls(DagsterPostgresStorage(with_limits(url), should_autocreate_tables=False), inst_data)
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
