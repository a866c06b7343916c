"""One pool a process: bounded, shared, closed when idle, replaced after an outage, and never a fork's."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy

from dagster_apollo.host.compute_logs import PostgresComputeLogManager
from dagster_apollo.runs import pools
from dagster_apollo.runs.pools import ANY_OTHER, RUN, WEBSERVER, Width, pool_of
from dagster_apollo.runs.storage import open_connections, prepare, widen
from dagster_apollo.settings import read
from tests.support.instances import instance_on
from tests.support.postgres import Postgres, running_postgres
from tests.support.said_by_runs import definitions
from tests.support.webserver import wait_until


def url(postgres: Postgres) -> str:
    return str(read({"DAGSTER_PG_URI": postgres.url()}).text("DAGSTER_PG_URI"))


def sessions(database: Postgres) -> int:
    """The sessions that a database has, but for the one that asks."""
    [(number,)] = database.rows(
        f"select count(*) from pg_stat_activity where datname = '{database.database}' and pid <> pg_backend_pid()"
    )
    return int(number)


def one(engine: sqlalchemy.Engine, question: str = "select 1") -> object:
    with engine.connect() as connection:
        return connection.execute(sqlalchemy.text(question)).scalar_one()


def test_all_storages_and_the_compute_logs_share_one_pool(
    instance: dg.DagsterInstance, database: Postgres, tmp_path: Path
) -> None:
    instance.get_runs(limit=1)
    instance.all_asset_keys()
    assert instance.schedule_storage
    instance.schedule_storage.all_instigator_state()
    PostgresComputeLogManager(url(database), tmp_path).is_capture_complete(["a", "b", "c"])

    assert sessions(database) == open_connections(instance) == 1


def test_there_are_never_more_connections_than_the_width_says(database: Postgres) -> None:
    pool = pool_of(url(database))
    seen = []

    def ask() -> None:
        one(pool.engine, "select pg_sleep(0.2)")
        seen.append(pool.open_connections())

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == 6
    assert max(seen) <= ANY_OTHER.most
    assert sessions(database) <= ANY_OTHER.kept


def test_no_question_waits_for_a_connection_that_its_own_thread_holds(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one connection for all, a question within a question would wait for itself."""
    monkeypatch.setattr(pools, "_WAIT_SECONDS", 0.5)
    prepare(instance)
    widen(instance, Width(kept=1, most=1, idle_seconds=60))
    job = definitions().resolve_job_def("all")
    for partition in ("one", "two"):
        job.execute_in_process(partition_key=partition, instance=instance, raise_on_error=False)

    runs = instance.get_runs()
    assert [run.status for run in runs] == [dg.DagsterRunStatus.FAILURE] * 2
    key = dg.AssetKey("loaded")
    [record] = instance.get_asset_records([key])
    assert record.asset_entry.last_run_id == runs[0].run_id
    assert instance.event_log_storage.get_materialized_partitions(dg.AssetKey("daily")) == {"one", "two"}
    [check] = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(key, "fails"), limit=1)
    assert check.run_id == runs[0].run_id
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default("a_pool")
    instance.event_log_storage.set_concurrency_slots("a_pool", 1)
    assert storage.claim_concurrency_slot("a_pool", runs[0].run_id, "step").is_claimed
    storage.free_concurrency_slots_for_run(runs[0].run_id)
    instance.delete_run(runs[0].run_id)
    assert len(instance.get_runs()) == 1


def test_the_server_closes_what_nobody_uses_and_the_next_question_is_answered(
    database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_TRUSTED_SECONDS", 0.0)
    pool = pool_of(url(database))
    pool.widen(Width(kept=1, most=2, idle_seconds=1))
    assert one(pool.engine) == 1
    assert sessions(database) == 1
    wait_until(lambda: sessions(database) == 0, "the server closes an idle session")

    assert one(pool.engine) == 1


def test_a_session_has_the_webservers_longest_statement(database: Postgres) -> None:
    pool = pool_of(url(database))
    pool.widen(WEBSERVER)

    assert one(pool.engine, "show statement_timeout") == "15s"
    assert one(pool.engine, "show idle_session_timeout") == "5min"


def test_every_connection_of_before_an_outage_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_TRUSTED_SECONDS", 0.0)
    with running_postgres() as server:
        pool = pool_of(url(server))
        pool.widen(RUN)
        with pool.engine.connect(), pool.engine.connect():
            pass
        assert pool.open_connections() == 2
        server.stop()
        server.start()

        assert one(pool.engine) == 1
        with pool.engine.connect() as first, pool.engine.connect() as second:
            assert first.execute(sqlalchemy.text("select 1")).scalar_one() == 1
            assert second.execute(sqlalchemy.text("select 1")).scalar_one() == 1
        pool.close()


def test_with_the_instance_its_connections_are_gone(database: Postgres, tmp_path: Path) -> None:
    with instance_on(database, tmp_path) as instance:
        instance.get_runs(limit=1)
        with dg.DagsterInstance.from_ref(instance.get_ref()) as of_a_tick:
            of_a_tick.get_runs(limit=1)
        assert open_connections(instance) == 0
        assert instance.get_runs(limit=1) == []

    wait_until(lambda: sessions(database) == 0, "every session has ended")


def test_a_prepared_process_has_no_connection(instance: dg.DagsterInstance, database: Postgres) -> None:
    prepare(instance)

    assert open_connections(instance) == 0
    wait_until(lambda: sessions(database) == 0, "every session has ended")
    assert instance.get_runs(limit=1) == []


def test_a_fork_leaves_its_parents_connections_alone(instance: dg.DagsterInstance, database: Postgres) -> None:
    instance.get_runs(limit=1)
    pool = pool_of(url(database))
    parents = one(pool.engine, "select pg_backend_pid()")
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(into, str(one(pool.engine, "select pg_backend_pid()")).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(into)

    assert int(os.read(out, 20)) != parents
    os.close(out)
    time.sleep(0.1)  # an end of the child's session that was the parent's would be noticed here
    assert one(pool.engine, "select pg_backend_pid()") == parents
