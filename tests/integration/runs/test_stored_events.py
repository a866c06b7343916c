"""What a run says, gathered and stored together: the rows that Dagster would have written, all of them, once."""

from __future__ import annotations

import inspect
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg
import psycopg2
import pytest
import sqlalchemy
from dagster._core.execution.api import create_execution_plan
from dagster._core.snap import ExecutionPlanSnapshot, execution_plan_snapshot, snapshot_from_execution_plan
from dagster_postgres import DagsterPostgresStorage

from dagster_apollo.runs import event_buffer, storage_internals
from dagster_apollo.runs.event_log import Entry, PooledEventLogStorage, Writing
from dagster_apollo.runs.patience import Patience
from dagster_apollo.runs.pooled_storages import PooledRunStorage, PooledScheduleStorage
from dagster_apollo.settings import read
from tests.support.postgres import DURABLE, Postgres, running_postgres
from tests.support.said_by_runs import TABLES, said_by_a_run, stored
from tests.support.webserver import wait_until

Entries = Sequence[dg.EventLogEntry]
PLANNED = (dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED)


@pytest.fixture(scope="module")
def said() -> Entries:
    return said_by_a_run()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server that forgets nothing that it said it had stored."""
    with running_postgres(*DURABLE) as running:
        yield running


@pytest.fixture(scope="module")
def tables(server: Postgres) -> Postgres:
    """A database with Dagster's tables."""
    database = server.new_database()
    DagsterPostgresStorage(url(database), should_autocreate_tables=True)
    return database


@pytest.fixture(scope="module")
def stock(server: Postgres, tables: Postgres, said: Entries) -> Postgres:
    """What Dagster's own storage makes of the entries."""
    database = server.new_database(like=tables)
    storage = DagsterPostgresStorage(url(database), should_autocreate_tables=False).event_log_storage
    for entry in said:
        storage.store_event(entry)
    return database


@pytest.fixture
def database(server: Postgres, tables: Postgres) -> Postgres:
    return server.new_database(like=tables)


@pytest.fixture
def buffering(database: Postgres) -> Iterator[PooledEventLogStorage]:
    """Our storage of it, as it is in a run's process."""
    storage = PooledEventLogStorage(url(database))
    storage.learn_schema()
    storage.be_patient(Patience())
    storage.start_buffer()
    yield storage
    storage.stop_buffer()
    storage.pool.close()


def url(postgres: Postgres) -> str:
    return str(read({"DAGSTER_PG_URI": postgres.url()}).text("DAGSTER_PG_URI"))


def assert_same_rows(ours: Postgres, stock: Postgres) -> None:
    for table in TABLES:
        assert stored(ours, table) == stored(stock, table), table
    assert stored(ours, "event_logs") != []


def losing(method: Callable[..., Any], times: int) -> Callable[..., Any]:
    """A method that does what it does, after which the answer is lost, some times."""
    left = [times]

    def lost(*args: Any) -> Any:
        answer = method(*args)
        if left[0]:
            left[0] -= 1
            raise sqlalchemy.exc.OperationalError(
                "", {}, psycopg2.OperationalError("gone"), connection_invalidated=True
            )
        return answer

    return lost


def test_the_rows_are_those_that_dagster_writes(
    stock: Postgres, database: Postgres, buffering: PooledEventLogStorage, said: Entries
) -> None:
    for entry in said:
        buffering.store_event(entry)
    buffering.stop_buffer()

    assert_same_rows(database, stock)


def test_without_a_buffer_they_are_too(stock: Postgres, database: Postgres, said: Entries) -> None:
    storage = PooledEventLogStorage(url(database))
    for entry in said:
        storage.store_event(entry)

    assert_same_rows(database, stock)


@pytest.mark.parametrize(
    ("ours", "part"), [(PooledRunStorage, "run_storage"), (PooledScheduleStorage, "schedule_storage")]
)
def test_what_is_not_asked_of_the_catalogue_is_what_it_says(tables: Postgres, ours: type, part: str) -> None:
    dagsters = getattr(DagsterPostgresStorage(url(tables), should_autocreate_tables=False), part)
    answered = [name for name in vars(ours) if name.lstrip("_").startswith("has_") and not name.endswith("_snapshot")]
    assert len(answered) > 3

    for name in answered:
        wanted = [
            parameter for parameter in inspect.signature(getattr(dagsters, name)).parameters if parameter == "conn"
        ]
        with dagsters.connect() as connection:
            assert getattr(dagsters, name)(*([connection] if wanted else [])) is True, name
        assert getattr(ours(url(tables)), name)(*([None] if wanted else [])) is True


def test_a_plan_is_known_without_being_read(database: Postgres) -> None:
    @dg.job
    def some() -> None:
        """Nothing to do."""

    plan = snapshot_from_execution_plan(create_execution_plan(some), some.get_job_snapshot_id())
    storage = PooledRunStorage(url(database))
    read: list[str] = []

    kept = storage.add_execution_plan_snapshot(plan)
    sqlalchemy.event.listen(storage._engine, "before_cursor_execute", lambda *told: read.append(told[2]))

    assert storage.has_execution_plan_snapshot(kept)
    assert not storage.has_execution_plan_snapshot("another")
    assert len(read) == 2
    assert not any("snapshot_body" in statement for statement in read)


def test_a_plan_is_put_into_words_once_and_stored_as_dagster_stores_it(
    stock: Postgres, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.job
    def some() -> None:
        """Nothing to do."""

    def plan(number: int) -> ExecutionPlanSnapshot:
        return snapshot_from_execution_plan(create_execution_plan(some), f"job {number}")

    dagsters = DagsterPostgresStorage(url(stock), should_autocreate_tables=False).run_storage
    ours = PooledRunStorage(url(database))
    said: list[object] = []
    say = storage_internals.serialize_value
    monkeypatch.setattr(storage_internals, "serialize_value", lambda value: said.append(value) or say(value))
    plans = [plan(1), plan(2)]

    ids = [execution_plan_snapshot.create_execution_plan_snapshot_id(made) for made in (*plans, plans[1])]
    assert [ours.add_execution_plan_snapshot(plans[number]) for number in (1, 0, 1)] == [ids[1], ids[0], ids[1]]
    assert len(said) == 4, "in turn: the first, the second, the first again, and the second"
    assert ids[1] == ids[2] != ids[0]
    assert [dagsters.add_execution_plan_snapshot(made) for made in plans] == ids[:2]

    stored_plans = "select snapshot_id, snapshot_body from snapshots order by 1"
    assert [*map(_bytes, database.rows(stored_plans))] == [*map(_bytes, stock.rows(stored_plans))]
    assert ours.get_execution_plan_snapshot(ids[0]) == plans[0]


def _bytes(row: tuple[str, Any]) -> tuple[str, bytes]:
    return row[0], bytes(row[1])


def test_what_a_run_plans_is_stored_by_one_statement_where_there_is_no_buffer(
    stock: Postgres, database: Postgres, said: Entries
) -> None:
    storage = PooledEventLogStorage(url(database))
    planned = [entry for entry in said if entry.dagster_event and entry.dagster_event_type in PLANNED]
    assert len(planned) == 5
    assert list(said[: len(planned)]) == planned
    inserts: list[str] = []

    def heard(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        inserts.extend([statement] if statement.startswith("INSERT INTO event_logs") else [])

    sqlalchemy.event.listen(storage._engine, "before_cursor_execute", heard)
    storage.store_event_batch(planned)
    assert len(inserts) == 1
    for entry in said[len(planned) :]:
        storage.store_event(entry)

    assert_same_rows(database, stock)


def test_what_changes_the_runs_state_is_there_at_once_and_what_came_before_it(
    database: Postgres, buffering: PooledEventLogStorage, said: Entries
) -> None:
    buffering._buffer._delay = 3600.0  # type: ignore[union-attr]
    end = next(
        number for number, entry in enumerate(said) if entry.dagster_event and entry.dagster_event.is_run_failure
    )
    for entry in said[: end + 1]:
        buffering.store_event(entry)

    assert database.rows("select count(*) from event_logs") == [(end + 1,)]


def test_the_rest_is_there_soon(database: Postgres, buffering: PooledEventLogStorage, said: Entries) -> None:
    line = next(entry for entry in said if not entry.is_dagster_event)
    buffering.store_event(line)

    wait_until(lambda: database.rows("select count(*) from event_logs") == [(1,)], "a line is stored by itself")


def test_the_process_sees_what_it_said(buffering: PooledEventLogStorage, said: Entries) -> None:
    buffering._buffer._delay = 3600.0  # type: ignore[union-attr]
    observed = [entry for entry in said if entry.dagster_event and entry.dagster_event.is_asset_observation]
    buffering.store_event(observed[0])

    assert [entry.timestamp for entry in buffering.get_logs_for_run(observed[0].run_id)] == [observed[0].timestamp]


@pytest.mark.parametrize("step", ["_store", "_derive"])
def test_what_was_stored_although_the_answer_was_lost_is_not_stored_again(
    stock: Postgres,
    database: Postgres,
    buffering: PooledEventLogStorage,
    said: Entries,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    monkeypatch.setattr(Writing, step, losing(getattr(Writing, step), times=2))
    for entry in said:
        buffering.store_event(entry)
    buffering.stop_buffer()

    assert_same_rows(database, stock)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_a_database_that_goes_away_in_the_middle_loses_nothing(
    server: Postgres,
    stock: Postgres,
    database: Postgres,
    buffering: PooledEventLogStorage,
    said: Entries,
    how: signal.Signals,
) -> None:
    half = len(said) // 2
    for entry in said[:half]:
        buffering.store_event(entry)
        time.sleep(0.01)
    server.stop(how)
    back = threading.Timer(3.0, server.start)
    back.start()
    for entry in said[half:]:
        buffering.store_event(entry)
    buffering.stop_buffer()
    back.join()

    assert_same_rows(database, stock)


def test_who_asks_meanwhile_waits_and_is_answered(
    server: Postgres, buffering: PooledEventLogStorage, said: Entries
) -> None:
    run_id = said[0].run_id
    assert buffering.get_logs_for_run(run_id) == []
    server.stop()
    back = threading.Timer(2.0, server.start)
    back.start()
    buffering.store_event(next(entry for entry in said if not entry.is_dagster_event))

    assert len(buffering.get_logs_for_run(run_id)) == 1
    back.join()


def test_a_question_that_is_wrong_is_not_asked_again(buffering: PooledEventLogStorage) -> None:
    asked = []

    def wrong() -> None:
        asked.append(1)
        with buffering._connect() as connection:
            connection.execute(sqlalchemy.text("select nothing from nowhere"))

    assert buffering.patience is not None
    with pytest.raises(sqlalchemy.exc.ProgrammingError):
        buffering.patience.call(wrong)
    assert len(asked) == 1


def unstorable(said: Entries) -> dg.EventLogEntry:
    """A materialization whose tag Postgres refuses: it holds a zero byte."""
    context = dg.AssetMaterialization("refused", tags={"dagster/data_version": "a\0b"})
    event = next(entry for entry in said if entry.dagster_event and entry.dagster_event.is_step_materialization)
    assert event.dagster_event
    data = event.dagster_event.event_specific_data._replace(materialization=context)  # type: ignore[union-attr]
    return event._replace(dagster_event=event.dagster_event._replace(event_specific_data=data))


def test_an_event_that_cannot_be_stored_fails_the_run_and_costs_no_other(
    database: Postgres, buffering: PooledEventLogStorage, said: Entries
) -> None:
    buffering._buffer._delay = 0.5  # type: ignore[union-attr]
    lines = [entry for entry in said if not (entry.dagster_event and entry.dagster_event.is_job_event)]

    def say_all() -> None:
        for entry in [*lines[:5], unstorable(said), *lines[5:]]:
            buffering.store_event(entry)
        buffering.stop_buffer()

    with pytest.raises(ValueError, match="NUL"):
        say_all()

    kept = "select count(*) from event_logs where asset_key is distinct from '[\"refused\"]'"
    assert database.rows(kept) == [(len(lines),)]


def test_what_waits_is_bounded_and_whoever_adds_more_waits(said: Entries) -> None:
    may_write, written = threading.Event(), []

    def write(entries: Sequence[int]) -> None:
        may_write.wait(30)
        written.extend(entries)

    buffer = event_buffer.EventBuffer(write, delay_seconds=0, most_bytes=100)
    buffer.start()
    adding = threading.Thread(target=lambda: [buffer.add(number, 10) for number in range(50)])
    adding.start()
    adding.join(0.5)
    assert adding.is_alive()
    assert buffer._added == 10
    may_write.set()
    adding.join(30)
    buffer.stop()

    assert written == list(range(50))


def test_events_of_several_threads_are_all_stored(
    database: Postgres, buffering: PooledEventLogStorage, said: Entries
) -> None:
    line = next(entry for entry in said if not entry.is_dagster_event)

    def speak(number: int) -> None:
        for count in range(200):
            buffering.store_event(line._replace(user_message=f"{number} {count}", timestamp=time.time()))

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    buffering.stop_buffer()

    assert database.rows("select count(*), count(distinct event) from event_logs") == [(800, 800)]


def test_an_entry_knows_what_follows_from_it(buffering: PooledEventLogStorage, said: Entries) -> None:
    entries = [Entry(event, buffering._event_to_row(event)) for event in said]

    assert {entry.event.dagster_event_type.value for entry in entries if entry.of_asset} == {  # type: ignore[union-attr]
        "ASSET_MATERIALIZATION", "ASSET_MATERIALIZATION_PLANNED", "ASSET_OBSERVATION",
    }  # fmt: skip
    assert {entry.event.dagster_event_type.value for entry in entries if entry.of_check} == {  # type: ignore[union-attr]
        "ASSET_CHECK_EVALUATION", "ASSET_CHECK_EVALUATION_PLANNED",
    }  # fmt: skip
