"""The days of a run reach dbt, as vars or as microbatch's event time, and no other day is touched."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from tests.support.tenant_folders import TenantFolders, failures, materialized

FIRST, DAYS = date(2026, 5, 1), 31
PARTITIONS = """
warehouse: duckdb
partitions:
  start: 2026-05-01
  end: 2026-06-01
  select: tag:daily
  reaches_dbt_as: {}
"""
SOURCE = f"""
{{{{ config(materialized='table', event_time='happened_at') }}}}
select
    cast(range as timestamp) as happened_at,
    1 as reading
from range(timestamp '{FIRST} 06:00', timestamp '{FIRST + timedelta(days=DAYS)}', interval 12 hour)
"""
BY_VARS = """
{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='day', tags=['daily']) }}
select cast(happened_at as date) as day, count(*) as readings, '{{ var("partition_date") }}' as asked_for
from {{ ref('happenings') }}
where happened_at >= '{{ var("partition_start") }}' and happened_at < '{{ var("partition_end") }}'
group by 1
"""
BY_EVENT_TIME = """
{{ config(
    materialized='incremental', incremental_strategy='microbatch', event_time='day', batch_size='day',
    begin='2026-05-01', tags=['daily']
) }}
select date_trunc('day', happened_at) as day, count(*) as readings
from {{ ref('happenings') }}
group by 1
"""
AFTER = "select count(*) as days from {{ ref('days') }}"


def folders_with(root: Path, config: str, days: str) -> TenantFolders:
    folders = TenantFolders(root)
    models = {"models/happenings.sql": SOURCE, "models/days.sql": days, "models/after.sql": AFTER}
    folders.write("acme", {"tenant.yaml": config, **models})
    return folders


@pytest.fixture(scope="module", params=["vars", "event_time"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TenantFolders:
    model = BY_VARS if request.param == "vars" else BY_EVENT_TIME
    return folders_with(tmp_path_factory.mktemp("daily"), PARTITIONS.format(request.param), model)


@pytest.fixture(scope="module")
def definitions(folders: TenantFolders) -> dg.Definitions:
    return folders.load("acme")


def run(
    definitions: dg.Definitions,
    first: str | None = None,
    last: str | None = None,
    keys: list[str] | None = None,
    **config: object,
) -> dg.ExecuteInProcessResult:
    """A run for these days, as the page or a backfill would launch it."""
    tags = {}
    if first and last:
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    with dg.DagsterInstance.ephemeral() as instance:
        return definitions.resolve_job_def("acme__build").execute_in_process(
            instance=instance,
            raise_on_error=False,
            tags=tags,
            partition_key=first if not last else None,
            asset_selection=[dg.AssetKey(["acme", key]) for key in keys] if keys else None,
            run_config={"ops": {"acme__dbt_build": {"config": config}}},
        )


def days_built(folders: TenantFolders) -> list[date]:
    return [row[0] for row in folders.rows("acme", "select cast(day as date) from days order by 1")]


def test_a_run_for_one_day_builds_that_day_and_leaves_the_others(
    folders: TenantFolders, definitions: dg.Definitions
) -> None:
    for day in ("2026-05-03", "2026-05-05", "2026-05-03"):
        result = run(definitions, day)
        assert result.success, failures(result)

    assert days_built(folders) == [date(2026, 5, 3), date(2026, 5, 5)]
    assert folders.rows("acme", "select distinct readings from days") == [(2,)]
    assert folders.rows("acme", "select days from after") == [(2,)]
    assert materialized(result) == {"happenings", "days", "after"}


def test_thirty_days_are_built_by_one_run_and_recorded_each(
    folders: TenantFolders, definitions: dg.Definitions
) -> None:
    result = run(definitions, "2026-05-02", "2026-05-31")

    assert result.success, failures(result)
    assert days_built(folders) == [date(2026, 5, 2) + timedelta(days=number) for number in range(30)]
    events = result.get_asset_materialization_events()
    recorded = Counter(event.asset_key.path[-1] for event in events if event.asset_key)
    assert recorded == {"happenings": 1, "days": 30, "after": 1}
    assert {event.partition for event in events if event.partition} == {
        (date(2026, 5, 2) + timedelta(days=number)).isoformat() for number in range(30)
    }


def test_a_run_that_names_no_day_is_refused_before_dbt_starts(definitions: dg.Definitions) -> None:
    result = run(definitions)

    assert not result.success
    assert failures(result) == (
        "days: partitioned by day, and the run names no day. Choose partitions, or a range of them."
    )


def test_what_is_not_partitioned_needs_no_day(definitions: dg.Definitions) -> None:
    result = run(definitions, keys=["happenings"])

    assert result.success, failures(result)


def test_a_full_refresh_for_some_of_the_days_would_drop_the_others_and_is_refused(definitions: dg.Definitions) -> None:
    refused = run(definitions, "2026-05-03", full_refresh=True)

    assert "full_refresh would drop the days" in failures(refused)


def test_a_full_refresh_for_all_the_days_is_none_that_drops_any(
    folders: TenantFolders, definitions: dg.Definitions
) -> None:
    result = run(definitions, "2026-05-01", "2026-05-31", full_refresh=True)

    assert result.success, failures(result)
    assert len(days_built(folders)) == DAYS
