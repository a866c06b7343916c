"""A whole run over the pool and the buffer: few connections, and a database that is away for a minute.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_apollo.runs.storage import buffered, open_connections, prepare
from tests.support.instances import instance_on
from tests.support.postgres import Postgres, running_postgres

MODELS = 100
AWAY_SECONDS = 60.0

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server of this test's alone, which says who connects."""
    with running_postgres() as running:
        running.stop()
        running.start("log_connections=on")
        yield running.new_database()


@pytest.fixture
def instance(server: Postgres, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_on(server, tmp_path) as made:
        yield made


def models(number: int, going_away: dict[int, Postgres] | None = None, seconds: float = 0.0) -> dg.JobDefinition:
    """One op that builds models with a check each, each on top of the last, in a pool, as a tenant's dbt is.

    Args:
        number: of models.
        going_away: databases that go away while a model is built.
        seconds: for how long.
    """
    names = [f"model_{index}" for index in range(number)]

    @dg.multi_asset(
        specs=[dg.AssetSpec(name, deps=names[max(index - 1, 0) : index]) for index, name in enumerate(names)],
        check_specs=[dg.AssetCheckSpec("holds", asset=name) for name in names],
        pool="a_tenant",
    )
    def build(context: dg.AssetExecutionContext) -> Iterator[Any]:
        for index, name in enumerate(names):
            if going_away and index in going_away:
                going_away[index].stop()
                threading.Timer(seconds, going_away[index].start, ["log_connections=on"]).start()
            print(f"building {name}", flush=True)  # noqa: T201
            context.log.info("building %s", name)
            passed = dg.AssetCheckResult(asset_key=name, check_name="holds", passed=index % 7 != 0)
            yield dg.MaterializeResult(name, metadata={"rows": index}, check_results=[passed])

    return dg.Definitions([build], executor=dg.in_process_executor).resolve_implicit_global_asset_job_def()


def connections_made(server: Postgres) -> int:
    return server.log.count(f"connection authorized: user={server.user} database={server.database}")


def assert_all_is_there_once(server: Postgres, run_id: str, number: int) -> None:
    for kind in ("ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION"):
        of_kind = f"from event_logs where run_id = '{run_id}' and dagster_event_type = '{kind}'"
        assert server.rows(f"select count(*), count(distinct event) {of_kind}") == [(number, number)]
    for kind in ("PIPELINE_START", "STEP_START", "STEP_SUCCESS", "PIPELINE_SUCCESS"):
        of_kind = f"from event_logs where run_id = '{run_id}' and dagster_event_type = '{kind}'"
        assert server.rows(f"select count(*) {of_kind}") == [(1,)], kind
    assert server.rows(
        f"select count(*) from event_logs where run_id = '{run_id}' and event like '%building model%'"
    ) == [(number,)]
    assert server.rows(
        f"select count(*) from asset_check_executions where run_id = '{run_id}' and execution_status <> 'PLANNED'"
    ) == [(number,)]
    assert server.rows(f"select status, end_time is not null from runs where run_id = '{run_id}'") == [
        ("SUCCESS", True)
    ]
    assert server.rows("select count(*) from concurrency_slots where run_id is not null") == [(0,)]
    printed = server.rows("select content from apollo_compute_logs where stream = 'out' order by position")
    assert b"".join(bytes(chunk) for (chunk,) in printed).split().count(b"building") == number
    assert server.rows("select count(*) from apollo_compute_logs where complete") == [(2,)]
    order = server.rows(f"select timestamp from event_logs where run_id = '{run_id}' order by id")
    assert order == sorted(order)


def test_a_run_of_a_hundred_models_opens_a_handful_of_connections(
    instance: dg.DagsterInstance, server: Postgres
) -> None:
    job = models(MODELS)
    prepare(instance)
    before = connections_made(server)
    with buffered(instance):
        ended = job.execute_in_process(instance=instance)
    opened = connections_made(server) - before

    assert opened <= 5
    assert open_connections(instance) == 0
    assert_all_is_there_once(server, ended.run_id, MODELS)


@pytest.mark.parametrize("model", [4, 9], ids=["in the middle", "at the end"])
def test_a_database_that_is_away_for_a_minute_costs_a_run_a_minute_and_nothing_else(
    instance: dg.DagsterInstance, server: Postgres, model: int
) -> None:
    job = models(10, {model: server}, AWAY_SECONDS)
    prepare(instance)
    began = time.monotonic()
    with buffered(instance):
        ended = job.execute_in_process(instance=instance)

    assert ended.success
    assert time.monotonic() - began > AWAY_SECONDS
    assert_all_is_there_once(server, ended.run_id, 10)
