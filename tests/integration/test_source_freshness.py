"""Sources: how fresh they are and what is tested on them, as checks."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import duckdb
import pytest

from tests.support.tenant_folders import TenantFolders, evaluated

FILES = {
    "models/orders.sql": "select * from {{ source('shop-floor', 'orders') }}",
    "models/sources.yml": """
sources:
  - name: shop-floor
    schema: floor
    config:
      loaded_at_field: loaded_at
      freshness: {warn_after: {count: 1, period: day}, error_after: {count: 2, period: day}}
    tables:
      - name: orders
      - name: late.orders
        identifier: late
      - name: stale
      - name: missing
      - name: unread
        config: {freshness: null}
        columns: [{name: id, data_tests: [not_null]}]
""",
}


@pytest.fixture
def folders(tmp_path: Path) -> TenantFolders:
    made = TenantFolders(tmp_path)
    made.write("acme", FILES)
    file = made.state_dir / "warehouse/local/acme.duckdb"
    file.parent.mkdir(parents=True)
    with duckdb.connect(str(file)) as connection:
        connection.execute("create schema floor")
        for table, age in (("orders", 0), ("late", 30), ("stale", 60), ("unread", 0)):
            query = f"select 1 as id, now() at time zone 'UTC' - interval {age} hour as loaded_at"
            connection.execute(f"create table floor.{table} as {query}")
    return made


def test_each_source_is_a_check_with_its_age_and_the_worst_are_errors(folders: TenantFolders) -> None:
    definitions = folders.load("acme")
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def("acme__freshness")
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert result.success
    outcomes = {
        "/".join(check.asset_key.path[1:]): (check.passed, check.severity.value, check.metadata["status"].value)
        for check in result.get_asset_check_evaluations()
    }
    assert outcomes == {
        "shop_floor/orders": (True, "ERROR", "pass"),
        "shop_floor/late_orders": (False, "WARN", "warn"),
        "shop_floor/stale": (False, "ERROR", "error"),
        "shop_floor/missing": (False, "ERROR", "runtime error"),
    }
    ages = {
        check.asset_key.path[-1]: check.metadata["age_seconds"].value
        for check in result.get_asset_check_evaluations()
        if "age_seconds" in check.metadata
    }
    assert 59 * 3600 < float(str(ages["stale"])) < 61 * 3600
    assert float(str(ages["orders"])) < 3600


def test_a_test_on_a_source_that_no_model_reads_is_a_check_too(folders: TenantFolders) -> None:
    definitions = folders.load("acme")
    key = dg.AssetCheckKey(
        dg.AssetKey(["acme", "shop_floor", "unread"]), "source_not_null_shop_floor_unread_id"
    )  # fmt: skip
    selection = dg.AssetSelection.checks(key)
    job = dg.define_asset_job("tests", selection)
    merged = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
    with dg.DagsterInstance.ephemeral() as instance:
        result = merged.resolve_job_def("tests").execute_in_process(instance=instance, raise_on_error=False)
    assert result.success
    assert evaluated(result) == {"shop_floor/unread:source_not_null_shop_floor_unread_id": True}
