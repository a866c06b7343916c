"""Dagster's three storages on Postgres, with the process's pool for their connections.

What they store and answer is Dagster's own. Nothing is asked again about the schema, which the roles wait for before
they start and which only grows. In a run's process they wait out a database that is away; and the event log keeps what
the run says in a buffer, which `event_log.py` writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import sqlalchemy

from dagster_apollo.runs.patience import Patience
from dagster_apollo.runs.pools import WEBSERVER, Pool, pool_of
from dagster_apollo.runs.storage_internals import (
    PostgresRunStorage,
    PostgresScheduleStorage,
    say_plans_once,
)

# Beside these, what only reads may be asked twice: its name says so.
_READING = ("get_", "has_", "check_", "fetch_", "can_", "all_")
# What leaves the same behind when it is done twice.
_REPEATABLE = (
    "add_dynamic_partitions",
    "add_execution_plan_snapshot",
    "add_job_snapshot",
    "add_run_tags",
    "claim_concurrency_slot",
    "free_concurrency_slot_for_step",
    "free_concurrency_slots_for_run",
    "handle_run_event",
    "initialize_concurrency_limit_to_default",
    "set_cursor_values",
    "update_asset_cached_status_data",
)


class Pooled:
    """What the three storages have in common; stands before Dagster's class among the bases.

    Attributes:
        pool: where connections come from.
        patience: how long the database is waited for; None: as Dagster does, some seconds for a connection.
    """

    pool: Pool
    patience: Patience | None = None

    def __init__(self, postgres_url: str) -> None:
        self.pool = pool_of(postgres_url)
        # Tables are made by `apollo migrate` alone: processes that start together would make them at once.
        super().__init__(postgres_url, should_autocreate_tables=False)  # type: ignore[call-arg]

    @property
    def _engine(self) -> sqlalchemy.Engine:
        return self.pool.engine

    @_engine.setter
    def _engine(self, made: sqlalchemy.Engine) -> None:
        made.dispose()  # Dagster's own, which it makes when it is constructed; it has not connected yet

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """What a webserver asks for: how wide its pool is, is decided in `pools.py`."""
        self.pool.widen(WEBSERVER)

    def be_patient(self, patience: Patience) -> None:
        """Wait the database out from now on, wherever a question may be asked twice."""
        self.patience = patience
        for name in dir(type(self)):
            inherited = getattr(type(self), name)
            if callable(inherited) and (name.startswith(_READING) or name in _REPEATABLE):
                setattr(self, name, patience.patient(getattr(self, name)))

    @contextmanager
    def connected(self) -> Iterator[sqlalchemy.Connection]:
        """A connection, tried for once: the whole question is asked again. Dagster's own way tries for some seconds."""
        with self._engine.connect() as connection:
            yield connection


class PooledRunStorage(Pooled, PostgresRunStorage):
    """Runs, their tags and snapshots."""

    def __init__(self, postgres_url: str) -> None:
        super().__init__(postgres_url)
        say_plans_once()

    def dispose(self) -> None:
        """With an instance goes what it has open: a tenant's server makes one for each thing that it is asked."""
        super().dispose()
        self.pool.close()

    def connect(self) -> AbstractContextManager[Any]:
        return self.connected() if self.patience else super().connect()

    # Dagster reads these from the server's catalogue whenever runs or backfills are asked for.
    def has_run_stats_index_cols(self) -> bool:
        return True

    def has_bulk_actions_selector_cols(self) -> bool:
        return True

    def has_bulk_action_job_name_column(self) -> bool:
        return True

    def has_backfill_id_column(self) -> bool:
        return True

    def has_backfill_tags_table(self) -> bool:
        return True

    # And this plan, of all of a project's models, whenever a run is made.
    def has_execution_plan_snapshot(self, execution_plan_snapshot_id: str) -> bool:
        return self._has_snapshot_id(execution_plan_snapshot_id)


class PooledScheduleStorage(Pooled, PostgresScheduleStorage):
    """Schedules, sensors and their ticks."""

    def connect(self, run_id: str | None = None) -> AbstractContextManager[Any]:
        return self.connected() if self.patience else super().connect(run_id)

    # And these whenever a schedule or a sensor is.
    def has_instigators_table(self) -> bool:
        return True

    def _has_instigators_table(self, conn: Any) -> bool:
        return True

    def _has_asset_daemon_asset_evaluations_table(self, conn: Any) -> bool:
        return True

    def has_secondary_index_table(self) -> bool:
        return True
