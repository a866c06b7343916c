"""`retries.max_retries`: dbt is started again within the run, for what failed and what was skipped by it alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from tests.support.openlineage import receiving
from tests.support.tenant_folders import TenantFolders, build, evaluated, failures, materialized

# Fails as often as it is told to, and counts its attempts in a file.
MODEL = """
import pathlib

ATTEMPTS = pathlib.Path({file!r})


def model(dbt, session):
    dbt.config(materialized="table")
    dbt.ref("first")
    attempt = len(ATTEMPTS.read_text()) + 1 if ATTEMPTS.exists() else 1
    ATTEMPTS.write_text("x" * attempt)
    if attempt <= {failing}:
        raise ValueError(f"the source is away, attempt {{attempt}}")
    return session.sql("select 1 as id")
"""
TESTS = """
models:
  - name: first
    columns: [{name: id, data_tests: [not_null]}]
  - name: last
    columns: [{name: id, data_tests: [not_null]}]
"""


def tenant(folders: TenantFolders, failing: int, retries: str, **files: str) -> Path:
    """A tenant `acme` whose second of three models fails at first; returns the file of its attempts."""
    attempts = folders.tenants_dir.parent / "attempts"
    made = {
        "models/first.sql": "{{ config(materialized='incremental', incremental_strategy='append') }} select 1 as id",
        "models/second.py": MODEL.format(file=str(attempts), failing=failing),
        "models/last.sql": "select id from {{ ref('second') }}",
        "models/models.yml": TESTS,
        "tenant.yaml": f"warehouse: duckdb\nretries: {retries}\n",
        **{f"models/{name}.sql": text for name, text in files.items()},
    }
    folders.write("acme", made)
    return attempts


def logged(folders: TenantFolders) -> tuple[dg.ExecuteInProcessResult, list[str]]:
    """Build, and the run's warnings."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = folders.load("acme").resolve_job_def("acme__build")
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        return result, [entry.user_message for entry in instance.all_logs(result.run_id) if entry.level == 30]


def test_a_model_that_fails_once_is_built_by_the_second_attempt_and_nothing_is_built_twice(tmp_path: Path) -> None:
    with receiving() as receiver:
        folders = TenantFolders(tmp_path, OPENLINEAGE_URL=receiver.url)
        attempts = tenant(folders, failing=1, retries="{max_retries: 2, delay_seconds: 0}")
        result, [warning] = logged(folders)
    assert result.success, failures(result)
    assert attempts.read_text() == "xx"
    assert Counter(
        event.asset_key.path[-1] for event in result.get_asset_materialization_events() if event.asset_key
    ) == {
        "first": 1,
        "second": 1,
        "last": 1,
    }
    assert evaluated(result) == {"first:not_null_first_id": True, "last:not_null_last_id": True}
    assert folders.rows("acme", "select count(*) from first") == [(1,)], "an incremental model was built once more"
    assert "attempt 2 of 3" in warning
    assert "the source is away, attempt 1" in warning
    kinds = Counter(kind for kind in receiver.kinds() if kind[1] != "START")
    assert kinds["acme.model.shop.second", "FAIL"] == kinds["acme.model.shop.second", "COMPLETE"] == 1
    assert kinds["acme.model.shop.first", "COMPLETE"] == 1


def test_when_all_attempts_fail_the_last_ones_error_is_the_runs_and_what_was_built_stays(tmp_path: Path) -> None:
    folders = TenantFolders(tmp_path)
    attempts = tenant(folders, failing=9, retries="{max_retries: 2, delay_seconds: 0}")
    result, warnings = logged(folders)
    assert not result.success
    assert attempts.read_text() == "xxx"
    assert len(warnings) == 2
    assert "the source is away, attempt 3" in failures(result)
    assert "attempt 2" not in failures(result)
    assert materialized(result) == {"first"}


def test_without_retries_a_failure_is_the_first_ones(tmp_path: Path) -> None:
    folders = TenantFolders(tmp_path)
    attempts = tenant(folders, failing=1, retries="{}")
    result, warnings = logged(folders)
    assert not result.success
    assert attempts.read_text() == "x"
    assert warnings == []


@pytest.mark.parametrize("others_fail", [True, False])
def test_a_check_that_fails_is_told_once_by_the_last_attempt(tmp_path: Path, others_fail: bool) -> None:
    folders = TenantFolders(tmp_path)
    # The test on it fails at every attempt; whether anything else does makes no difference.
    none = "select cast(null as integer) as id"
    tenant(folders, failing=9 if others_fail else 0, retries="{max_retries: 1, delay_seconds: 0}", first=none)
    result = build(folders.load("acme"), "acme")
    assert not result.success
    evaluations = Counter(check.check_name for check in result.get_asset_check_evaluations())
    assert evaluations["not_null_first_id"] == 1
    assert "test not_null_first_id" in failures(result)
