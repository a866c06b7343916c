"""What a person may change for one run, and what a run is told to have done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.support.tenant_folders import TenantFolders, evaluated, failures, materialized

FILES = {
    "models/numbers.sql": """
{{ config(materialized='incremental', incremental_strategy='append') }}
select {{ var('day', 1) }} as day
""",
    "models/doubled.sql": "select day * 2 as day from {{ ref('numbers') }}",
    "models/apart.sql": "{{ config(tags=['apart']) }} select 1 as id",
    "models/models.yml": """
models:
  - name: numbers
    columns: [{name: day, data_tests: [not_null]}]
  - name: apart
    columns: [{name: id, data_tests: [not_null, unique]}]
""",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> TenantFolders:
    made = TenantFolders(tmp_path_factory.mktemp("run_config"))
    made.write("acme", FILES)
    return made


@pytest.fixture(scope="module")
def definitions(folders: TenantFolders) -> dg.Definitions:
    return folders.load("acme")


def run(definitions: dg.Definitions, keys: list[str] | None = None, **config: Any) -> dg.ExecuteInProcessResult:
    run_config: Mapping[str, Any] = {"ops": {"acme__dbt_build": {"config": config}}}
    selection = [dg.AssetKey(["acme", key]) for key in keys] if keys else None
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def("acme__build")
        return job.execute_in_process(
            instance=instance, run_config=run_config, raise_on_error=False, asset_selection=selection
        )


def test_vars_reach_dbt_and_full_refresh_builds_incremental_models_anew(
    folders: TenantFolders, definitions: dg.Definitions
) -> None:
    for day in (1, 2, 3):
        assert run(definitions, ["numbers", "doubled"], vars={"day": day}).success
    assert folders.rows("acme", "select day from numbers order by 1") == [(1,), (2,), (3,)]
    assert folders.rows("acme", "select max(day) from doubled") == [(6,)]
    assert run(definitions, ["numbers"], full_refresh=True, vars={"day": 9}).success
    assert folders.rows("acme", "select day from numbers") == [(9,)]


def test_select_and_exclude_narrow_what_dagster_selected(definitions: dg.Definitions) -> None:
    result = run(definitions, select=["tag:apart", "numbers"], exclude=["test_name:unique"])
    assert result.success, failures(result)
    assert materialized(result) == {"apart", "numbers"}
    assert set(evaluated(result)) == {"apart:not_null_apart_id", "numbers:not_null_numbers_day"}


def test_a_selection_that_leaves_nothing_is_an_error_and_not_a_green_run(definitions: dg.Definitions) -> None:
    result = run(definitions, ["numbers"], select=["tag:apart"])
    assert not result.success
    assert "leave nothing" in failures(result)


def test_a_target_that_the_profile_lacks_is_named_with_those_it_has(definitions: dg.Definitions) -> None:
    result = run(definitions, target="staging")
    assert not result.success
    assert "'staging'" in failures(result)
    assert "local, dev, prod" in failures(result)


def test_another_target_of_the_profile_is_built_into(folders: TenantFolders, definitions: dg.Definitions) -> None:
    result = run(definitions, ["apart"], target="dev")
    assert result.success, failures(result)
    assert folders.rows("acme", "select id from apart", target="dev") == [(1,)]
    [event] = result.get_asset_materialization_events()
    relation = event.step_materialization_data.materialization.metadata["relation"].value
    assert relation == '"acme"."main"."apart"'


def test_a_subset_builds_that_asset_with_its_checks_and_nothing_else(definitions: dg.Definitions) -> None:
    result = run(definitions, ["apart"])
    assert materialized(result) == {"apart"}
    assert set(evaluated(result)) == {"apart:not_null_apart_id", "apart:unique_apart_id"}


def test_a_run_leaves_no_artifacts_behind(folders: TenantFolders, definitions: dg.Definitions) -> None:
    run(definitions, ["apart"])
    runs: Path = folders.state_dir / "tenants/acme/runs"
    assert list(runs.iterdir()) == []
