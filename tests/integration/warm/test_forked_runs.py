"""Runs that are forked from a warm tenant: what they do, what they do without, and what they leave."""

from __future__ import annotations

import json
import os
from datetime import datetime

import dagster as dg
import psutil
import pytest

from tests.integration.warm.conftest import Shop, StartShop

TABLE = "{{ config(materialized='table') }} "
NINE = {
    "seeds/raw.csv": "id,v\n1,1\n2,2\n",
    "models/m0.sql": "select id, v from {{ ref('raw') }}",
    **{f"models/m{n}.sql": TABLE + f"select id, v + {n} as v from {{{{ ref('m{n - 1}') }}}}" for n in range(1, 5)},
    "models/schema.yml": json.dumps(
        {"models": [{"name": f"m{n}", "columns": [{"name": "id", "data_tests": ["not_null"]}]} for n in (0, 2, 4)]}
    ),
}
SAID = """\
select '{{ var("word", "none") }}' as word, '{{ run_started_at }}' as started_at, '{{ invocation_id }}' as invocation
"""
OWN = """\
import dagster as dg


@dg.asset(key=["shop", "counted"])
def counted() -> int:
    return 3


chosen = dg.AssetSelection.assets(counted)
count = dg.define_asset_job("shop__count", chosen)
spread = dg.define_asset_job("shop__spread", chosen, executor_def=dg.multiprocess_executor)
defs = dg.Definitions(assets=[counted], jobs=[count, spread])
"""
RUNS = 30


@pytest.fixture(scope="module")
def shop(start_shop: StartShop) -> Shop:
    return start_shop({**NINE, "models/said.sql": SAID, "definitions.py": OWN})


def test_runs_build_all_of_the_project_and_say_so(shop: Shop) -> None:
    runs = [shop.built(exclude=["said"]) for _ in range(2)]

    for run in runs:
        events = [entry.dagster_event for entry in shop.instance.all_logs(run.run_id) if entry.dagster_event]
        assert sum(event.is_step_materialization for event in events) == 6
        assert sum(event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION for event in events) == 3
    assert shop.folders.rows("shop", "select sum(v) from main.m4") == [(23,)]


def test_vars_reach_the_models_although_the_project_was_parsed_without_them(shop: Shop) -> None:
    for config, word in (({"vars": {"word": "hello"}}, "hello"), ({}, "none")):
        shop.built(select=["said"], **config)
        assert shop.folders.rows("shop", "select word from main.said") == [(word,)]


def test_each_run_has_its_own_time_and_id_in_dbt(shop: Shop) -> None:
    told = []
    for _ in range(2):
        record = shop.instance.get_run_record_by_id(shop.built(select=["said"]).run_id)
        [(started_at, invocation)] = shop.folders.rows("shop", "select started_at, invocation from main.said")
        assert record is not None
        assert record.start_time is not None
        assert datetime.fromisoformat(started_at).timestamp() > record.start_time
        told.append(invocation)

    assert told[0] != told[1]


@pytest.mark.parametrize("job", ["shop__count", "shop__spread"])
def test_a_step_that_is_not_dbts_runs_in_the_run_or_in_a_process_of_its_own(shop: Shop, job: str) -> None:
    run = shop.created(job)

    assert shop.warm.run(shop.instance, run) == 0
    assert shop.status(run) == dg.DagsterRunStatus.SUCCESS, shop.told(run)
    assert shop.instance.get_latest_materialization_event(dg.AssetKey(["shop", "counted"])) is not None


def test_a_run_that_is_not_recorded_here_is_answered_as_a_start_that_failed(shop: Shop) -> None:
    run = shop.created()
    shop.instance.delete_run(run.run_id)

    with pytest.raises(AssertionError, match=f"there is no run {run.run_id} in the storage"):
        shop.warm.start(shop.instance, run)
    assert shop.warm.ended(run) == 0


def test_thirty_runs_leave_no_file_no_process_and_no_descriptor(shop: Shop) -> None:
    shop.built(select=["said"])
    before, temporary = shop.warm.state(), shop.temporary()

    for _ in range(RUNS):
        shop.built(select=["said"])

    assert before["threads"] == 1
    assert before["children"] == []
    assert shop.warm.state() == before
    assert shop.left() == []
    assert shop.temporary() == temporary
    ours = {process.pid for process in psutil.process_iter() if _knows(process, str(shop.folders.state_dir))}
    assert ours == {shop.warm.process.pid}


def _knows(process: psutil.Process, folder: str) -> bool:
    try:
        return process.pid != os.getpid() and folder in process.environ().get("APOLLO_STATE_DIR", "")
    except psutil.Error:
        return False
