"""Records of runs that ended long ago are removed; what is last of an asset, a partition or a check never is."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest

from dagster_apollo.runs.retention import Removed, remove_old_records
from dagster_apollo.settings import read
from tests.support.postgres import Postgres
from tests.support.said_by_runs import definitions

LOADED, DAILY = dg.AssetKey("loaded"), dg.AssetKey("daily")
DAYS = 90
Run = Callable[..., str]


@pytest.fixture
def run(instance: dg.DagsterInstance, database: Postgres) -> Run:
    """Runs the job, as if so many days ago."""

    def run(days_ago: int, partition: str = "one", tags: dict[str, str] | None = None) -> str:
        ended = (
            definitions()
            .resolve_job_def("all")
            .execute_in_process(partition_key=partition, instance=instance, raise_on_error=False, tags=tags)
        )
        age(database, ended.run_id, days_ago)
        return ended.run_id

    return run


def age(database: Postgres, run_id: str, days: int) -> None:
    """Make a run's records look older."""
    for table, column in (
        ("runs", "update_timestamp"),
        ("event_logs", "timestamp"),
        ("asset_check_executions", "evaluation_event_timestamp"),
    ):
        database.execute(f"update {table} set {column} = {column} - interval '{days} days' where run_id = '{run_id}'")


def remove(database: Postgres, days: int = DAYS) -> Removed:
    return remove_old_records(str(read({"DAGSTER_PG_URI": database.url()}).text("DAGSTER_PG_URI")), days)


def events(database: Postgres, run_id: str) -> set[str]:
    rows = database.rows(f"select distinct dagster_event_type from event_logs where run_id = '{run_id}'")
    return {str(kind) for (kind,) in rows}


def test_a_run_that_is_young_keeps_everything(database: Postgres, run: Run) -> None:
    run(DAYS - 1)
    run(0)
    before = database.rows("select count(*) from event_logs")

    assert not remove(database)
    assert database.rows("select count(*) from event_logs") == before


def test_an_old_run_that_nothing_refers_to_is_gone_and_all_that_was_its(
    instance: dg.DagsterInstance, database: Postgres, run: Run
) -> None:
    old, new = run(DAYS + 1), run(0)

    removed = remove(database)
    assert removed.runs == 1
    assert removed.events > 20
    assert instance.get_run_by_id(old) is None
    assert database.rows(f"select count(*) from event_logs where run_id = '{old}'") == [(0,)]
    assert database.rows(f"select count(*) from asset_check_executions where run_id = '{old}'") == [(0,)]
    assert database.rows(f"select count(*) from run_tags where run_id = '{old}'") == [(0,)]
    assert database.rows("select count(*) from asset_event_tags where event_id not in (select id from event_logs)") == [
        (0,)
    ]
    assert instance.get_run_by_id(new) is not None
    assert not remove(database)


def test_what_is_last_of_an_asset_and_a_check_is_kept_however_old(
    instance: dg.DagsterInstance, database: Postgres, run: Run
) -> None:
    run(3 * DAYS)
    last = run(2 * DAYS)
    storage = instance.event_log_storage
    checks = [dg.AssetCheckKey(LOADED, name) for name in ("holds", "fails")]

    def known() -> list[object]:
        return [
            instance.get_latest_materialization_event(LOADED),
            storage.get_asset_records([LOADED, DAILY, dg.AssetKey("broken"), dg.AssetKey("elsewhere")]),
            instance.fetch_observations(dg.AssetKey("elsewhere"), limit=1).records,
            instance.fetch_materializations(DAILY, limit=1).records,
            storage.get_latest_tags_by_partition(
                DAILY, dg.DagsterEventType.ASSET_MATERIALIZATION, tag_keys=["dagster/data_version"]
            ),
            storage.get_asset_check_summary_records(checks),
            storage.get_latest_asset_check_execution_by_key(checks),
            storage.get_latest_planned_materialization_info(LOADED),
            instance.get_run_by_id(last),
        ]

    before = known()
    assert remove(database)
    assert known() == before
    assert events(database, last) == {
        "ASSET_MATERIALIZATION", "ASSET_MATERIALIZATION_PLANNED", "ASSET_OBSERVATION", "ASSET_CHECK_EVALUATION",
    }  # fmt: skip


def test_each_partition_stays_materialized(instance: dg.DagsterInstance, database: Postgres, run: Run) -> None:
    for days, partition in ((5 * DAYS, "one"), (4 * DAYS, "two"), (3 * DAYS, "one"), (0, "one")):
        run(days, partition)
    storage = instance.event_log_storage
    before = storage.get_latest_storage_id_by_partition(DAILY, dg.DagsterEventType.ASSET_MATERIALIZATION)

    assert remove(database).runs == 2
    assert storage.get_materialized_partitions(DAILY) == {"one", "two"}
    assert storage.get_latest_storage_id_by_partition(DAILY, dg.DagsterEventType.ASSET_MATERIALIZATION) == before


def test_a_result_is_kept_when_what_came_after_it_has_none(
    instance: dg.DagsterInstance, database: Postgres, run: Run
) -> None:
    with_result, without = run(3 * DAYS), run(2 * DAYS)
    database.execute(
        "update asset_check_executions c set execution_status = 'PLANNED', evaluation_event_storage_id = e.id,"
        f" evaluation_event = e.event from event_logs e where c.run_id = '{without}' and e.run_id = c.run_id"
        " and e.dagster_event_type = 'ASSET_CHECK_EVALUATION_PLANNED'"
        " and e.event like '%\"check_name\": \"' || c.check_name || '\"%'"
    )

    remove(database)
    key = dg.AssetCheckKey(LOADED, "fails")
    summary = instance.event_log_storage.get_asset_check_summary_records([key])[key]
    assert summary.last_check_execution_record
    assert summary.last_check_execution_record.run_id == without
    assert summary.last_completed_check_execution_record
    assert summary.last_completed_check_execution_record.run_id == with_result


def test_a_run_that_has_not_ended_is_not_touched(instance: dg.DagsterInstance, database: Postgres, run: Run) -> None:
    old = run(2 * DAYS)
    run(0)
    database.execute(f"update runs set status = 'STARTED' where run_id = '{old}'")
    before = database.rows(f"select count(*) from event_logs where run_id = '{old}'")

    assert not remove(database)
    assert database.rows(f"select count(*) from event_logs where run_id = '{old}'") == before


def test_a_run_that_a_sensor_knows_by_its_key_is_known_for_ever(
    instance: dg.DagsterInstance, database: Postgres, run: Run
) -> None:
    old = run(2 * DAYS, tags={"dagster/run_key": "the file of Monday"})
    run(0)

    assert remove(database).runs == 0
    assert [
        found.run_id for found in instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": "the file of Monday"}))
    ] == [old]
    assert events(database, old) == set()


def test_of_what_was_reported_without_a_run_the_last_is_kept(instance: dg.DagsterInstance, database: Postgres) -> None:
    for rows in range(4):
        instance.report_runless_asset_event(dg.AssetMaterialization("reported", metadata={"rows": rows}))
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(asset_key=dg.AssetKey("reported"), check_name="holds", passed=True)
    )
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(asset_key=dg.AssetKey("reported"), check_name="holds", passed=False)
    )
    age(database, "", 2 * DAYS)

    assert remove(database).events == 4
    last = instance.get_latest_materialization_event(dg.AssetKey("reported"))
    assert last is not None
    assert last.asset_materialization is not None
    assert last.asset_materialization.metadata["rows"].value == 3
    [check] = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("reported"), "holds"), limit=5
    )
    assert check.status.value == "FAILED"


def test_snapshots_that_no_run_is_of_go_but_none_of_today(
    instance: dg.DagsterInstance, database: Postgres, run: Run
) -> None:
    def snapshots() -> set[str]:
        return {str(name) for (name,) in database.rows("select snapshot_id from snapshots")}

    run(0)
    used = snapshots()
    assert remove(database).snapshots == 0
    copied = "insert into snapshots (snapshot_id, snapshot_body, snapshot_type)"
    database.execute(f"{copied} select 'of_before', snapshot_body, snapshot_type from snapshots limit 1")
    remove_a_day_later(database)
    database.execute(f"{copied} select 'of_today', snapshot_body, snapshot_type from snapshots limit 1")
    assert snapshots() == used | {"of_before", "of_today"}

    assert remove_a_day_later(database).snapshots == 1
    assert snapshots() == used | {"of_today"}


def test_a_job_of_which_a_run_took_a_part_keeps_its_snapshot(instance: dg.DagsterInstance, database: Postgres) -> None:
    job = definitions().resolve_job_def("all")
    part = job.get_subset(asset_selection={LOADED})
    created = instance.create_run_for_job(part, asset_selection=frozenset({LOADED}))
    remove(database)
    remove_a_day_later(database)

    assert created.job_snapshot_id
    assert instance.get_historical_job(created.job_snapshot_id).parent_job_snapshot is not None  # type: ignore[attr-defined]


def remove_a_day_later(database: Postgres) -> Removed:
    database.execute(
        "update kvs set value = split_part(value, ' ', 1) || ' ' || split_part(value, ' ', 2)::float - 90000"
        " where key = 'apollo_snapshot_watermark'"
    )
    return remove(database)


def test_it_can_be_ended_between_two_steps(database: Postgres, run: Run) -> None:
    run(2 * DAYS)
    url = str(read({"DAGSTER_PG_URI": database.url()}).text("DAGSTER_PG_URI"))

    assert not remove_old_records(url, DAYS, is_ended=lambda: True)
