"""Dagster's event log on Postgres: what a run says within a moment is stored by one statement, as is what it plans.

The rows are those that Dagster would write, in the same order, with ids that the database gives when they are written.
As there, an event is stored first and by itself, and what follows from it after: the asset's row, its tags, a check's
execution. Nothing is stored twice, also when a database went away without saying whether it had stored something.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy.dialects import postgresql

from dagster_apollo.runs.event_buffer import EventBuffer
from dagster_apollo.runs.patience import Patience, is_outage
from dagster_apollo.runs.pooled_storages import Pooled
from dagster_apollo.runs.storage_internals import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    ASSET_KEY_INDEX_COLS,
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    EventLogEntry,
    PostgresEventLogStorage,
    SqlEventLogStorageTable,
)

_EVENTS = SqlEventLogStorageTable
# The ids come back in the order of the rows.
_INSERT = postgresql.insert(_EVENTS).returning(_EVENTS.c.id, sort_by_parameter_order=True)
_log = logging.getLogger("dagster_apollo.event_log")


@dataclass(frozen=True)
class Entry:
    """An event on its way.

    Attributes:
        event: as Dagster has it.
        row: as it is stored.
    """

    event: EventLogEntry
    row: dict[str, Any]

    @property
    def of_asset(self) -> bool:
        """Whether an asset's row follows from it."""
        dagster_event = self.event.dagster_event
        return dagster_event is not None and dagster_event.event_type in ASSET_EVENTS and bool(dagster_event.asset_key)

    @property
    def of_check(self) -> bool:
        """Whether a check's execution follows from it."""
        return self.event.is_dagster_event and self.event.dagster_event_type in ASSET_CHECK_EVENTS


class PooledEventLogStorage(Pooled, PostgresEventLogStorage):
    """The event log; its buffer is there in a run's process alone."""

    def __init__(self, postgres_url: str) -> None:
        self._tables: dict[str, bool] = {}
        self._buffer: EventBuffer[Entry] | None = None
        # The connection that the writer's transaction is on, where Dagster's methods ask for one by themselves.
        self._in_transaction: sqlalchemy.Connection | None = None
        super().__init__(postgres_url)

    def learn_schema(self) -> None:
        """Ask once for all that is remembered about the schema."""
        for table in (AssetEventTagsTable, AssetCheckExecutionsTable):
            self.has_table(table.name)
        self.has_secondary_index(ASSET_KEY_INDEX_COLS)
        _ = self.supports_global_concurrency_limits, self.has_concurrency_limits_table, self.has_default_pool_limit_col

    def start_buffer(self) -> None:
        """Gather events from now on, and write them from a thread. Not before a fork."""
        buffer = EventBuffer(self._write)
        buffer.start()
        self._buffer = buffer

    def stop_buffer(self) -> None:
        """Write what is left; from now on each event is stored when it comes.

        Raises:
            Exception: an event could not be stored.
        """
        if self._buffer is not None:
            try:
                self._buffer.stop()
            finally:
                self._buffer = None

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, soon; one that changes the run's state, at once."""
        if self._buffer is None:
            super().store_event(event)
            return
        row = self._event_to_row(event)
        self._buffer.add(Entry(event, row), len(row["event"]))
        if event.dagster_event is not None:
            self._buffer.raise_error()
            if event.dagster_event.is_job_event:
                self._buffer.flush()

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store what is said at once, as all that a run is going to build; Dagster's own stores it one by one."""
        if self._buffer is not None:
            for event in events:
                self.store_event(event)
            return
        self._store_all([Entry(event, self._event_to_row(event)) for event in events], lambda go_on: go_on())

    # Dagster asks the database for its own columns many times in each run.
    def has_table(self, table_name: str) -> bool:
        if not self._tables.get(table_name):
            self._tables[table_name] = super().has_table(table_name)
        return self._tables[table_name]

    def has_asset_key_col(self, column_name: str) -> bool:
        return column_name in AssetKeyTable.c

    def _has_asset_key_col_on_connection(self, conn: Any, column_name: str) -> bool:
        return column_name in AssetKeyTable.c

    def _connect(self) -> AbstractContextManager[Any]:
        """A connection that sees all that this process has said so far."""
        if self._buffer is not None:
            self._buffer.flush()
        return self.connected() if self.patience else super()._connect()

    def index_connection(self) -> AbstractContextManager[Any]:
        if self._buffer is not None and self._buffer.is_writer() and self._in_transaction is not None:
            return nullcontext(self._in_transaction)
        return super().index_connection()

    def _write(self, entries: Sequence[Entry]) -> None:
        """Store entries, waiting the database out.

        Raises:
            Exception: see `_store_all`.
        """
        self._store_all(entries, (self.patience or Patience()).call)

    def _store_all(self, entries: Sequence[Entry], call: Callable[[Callable[[], None]], None]) -> None:
        """Store entries together, or each for itself where that is refused.

        Args:
            entries: in their order.
            call: does a part of it.

        Raises:
            Exception: what the first of those raised that cannot be stored; the others are.
        """
        together = Writing(self, entries)
        try:
            call(together.go_on)
            return
        except Exception as error:
            if is_outage(error):
                raise
        failed: list[Exception] = []
        for alone in together.one_by_one():
            try:
                call(alone.go_on)
            except Exception as error:
                if alone.entries[0].event.dagster_event is None:  # a line that somebody logged is not worth a run
                    _log.warning("a line of the run's log cannot be stored: %s", type(error).__name__)
                else:
                    failed.append(error)
        if failed:
            raise failed[0]

    @contextmanager
    def transaction(self) -> Iterator[sqlalchemy.Connection]:
        """One transaction, which is also the one that Dagster's methods use when the writer calls them."""
        with self._connect() as connection:
            connection = connection.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                self._in_transaction = connection
                try:
                    yield connection
                finally:
                    self._in_transaction = None


class Writing:
    """Some entries being stored; what was done is not done again when it is gone on with.

    Args:
        storage: where they are stored.
        entries: in their order.
        ids: of their rows, when they are stored already.
    """

    def __init__(
        self, storage: PooledEventLogStorage, entries: Sequence[Entry], ids: Sequence[int] | None = None
    ) -> None:
        self.entries = entries
        self._storage = storage
        self._ids = ids
        self._was_tried = self._was_derived = False

    def one_by_one(self) -> list[Writing]:
        """The same, each for itself."""
        if self._ids is None:
            return [Writing(self._storage, [entry]) for entry in self.entries]
        return [
            Writing(self._storage, [entry], [number]) for entry, number in zip(self.entries, self._ids, strict=True)
        ]

    def go_on(self) -> None:
        """Do what is not done yet."""
        if self._ids is None and self._was_tried:
            self._ids = self._stored_already()
        if self._ids is None:
            self._was_tried = True
            self._ids = self._store()
        if any(entry.of_asset or entry.of_check for entry in self.entries):
            self._derive(self._ids)

    def _store(self) -> Sequence[int]:
        # One statement, committed by itself: ids that were given earlier and shown later would be missed by whoever
        # follows all events by their ids, as sensors do.
        with self._storage._connect() as connection:
            return [number for (number,) in connection.execute(_INSERT, [entry.row for entry in self.entries])]

    def _stored_already(self) -> Sequence[int] | None:
        """The ids of the entries' rows, where the database stored them and went away before it could say so."""
        rows = [entry.row for entry in self.entries]
        times = [row["timestamp"] for row in rows]
        chosen = (
            sqlalchemy.select(_EVENTS.c.id, _EVENTS.c.run_id, _EVENTS.c.event)
            .where(_EVENTS.c.run_id.in_({row["run_id"] for row in rows}))
            .where(_EVENTS.c.timestamp.between(min(times), max(times)))
            .order_by(_EVENTS.c.id)
        )
        found: defaultdict[tuple[str, str], deque[int]] = defaultdict(deque)
        with self._storage._connect() as connection:
            for number, run_id, event in connection.execute(chosen):
                found[run_id, event].append(number)
        keys = [(row["run_id"], row["event"]) for row in rows]
        # All of a statement's rows are there, or none.
        return [found[key].popleft() for key in keys] if all(found.get(key) for key in keys) else None

    def _derive(self, ids: Sequence[int]) -> None:
        """Store what follows from the events, as Dagster does."""
        stored = list(zip(self.entries, ids, strict=True))
        of_assets = [(entry.event, number) for entry, number in stored if entry.of_asset]
        of_checks = [(entry.event, number) for entry, number in stored if entry.of_check]
        with self._storage.transaction() as connection:
            if self._was_derived:
                _take_back(connection, ids)
            self._was_derived = True
            if of_assets:
                events, numbers = zip(*of_assets, strict=True)
                self._storage._store_asset_event_tags(connection, events, numbers)
                self._store_assets(connection, of_assets)
            for event, number in of_checks:
                self._storage.store_asset_check_event(event, number)

    def _store_assets(self, connection: sqlalchemy.Connection, of_assets: Sequence[tuple[EventLogEntry, int]]) -> None:
        """Each asset's row as it is after its last event."""
        rows: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for event, number in of_assets:
            key = event.get_dagster_event().asset_key
            assert key is not None  # noqa: S101  `of_asset`
            rows[key.to_string()].update(self._storage._get_asset_entry_values(event, number, True))
        alike: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for name, values in sorted(rows.items()):  # in one order for all runs, or two would wait for each other
            alike[tuple(sorted(values))].append({"asset_key": name, **values})
        for columns, values_of_all in sorted(alike.items()):
            insert = postgresql.insert(AssetKeyTable)
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=[AssetKeyTable.c.asset_key],
                    set_={column: insert.excluded[column] for column in columns},
                )
                if columns
                else insert.on_conflict_do_nothing(),
                values_of_all,
            )


def _take_back(connection: sqlalchemy.Connection, ids: Sequence[int]) -> None:
    """Remove what may have been derived already; the assets' rows and finished checks are written over."""
    connection.execute(AssetEventTagsTable.delete().where(AssetEventTagsTable.c.event_id.in_(ids)))
    planned = AssetCheckExecutionsTable.c.execution_status == "PLANNED"
    connection.execute(
        AssetCheckExecutionsTable.delete().where(
            AssetCheckExecutionsTable.c.evaluation_event_storage_id.in_(ids), planned
        )
    )
