"""A tenant's Postgres, as its warehouse or attached to DuckDB: really built in, and told of when it is not set."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from dagster_apollo.errors import SettingsError
from tests.support.postgres import Postgres
from tests.support.tenant_folders import TenantFolders, build, evaluated, failures, materialized

STG = "select 1 as id, 'north' as site"
MART = "select count(*) as sites from {{ ref('stg_sites') }}"
TESTS = """
models:
  - name: stg_sites
    columns: [{name: id, data_tests: [not_null, unique]}]
"""
ATTACHED = {
    "tenant.yaml": "warehouse: duckdb\nservices: [postgres]\n",
    "models/stg_sites.sql": STG,
    "models/mart_sites.sql": "{{ config(database='postgres', schema='attached', materialized='table') }}" + MART,
    "models/models.yml": TESTS,
    "macros/schema.sql": "{% macro generate_schema_name(name, node) %}{{ name or target.schema }}{% endmacro %}",
}
ON_POSTGRES = {
    "tenant.yaml": "warehouse: postgres\n",
    "models/stg_sites.sql": STG,
    "models/mart_sites.sql": "{{ config(materialized='table') }}" + MART,
    "models/models.yml": TESTS,
}


@pytest.fixture
def folders(tmp_path: Path) -> TenantFolders:
    return TenantFolders(tmp_path)


def build_in_prod(folders: TenantFolders, postgres: Postgres) -> dg.ExecuteInProcessResult:
    given = {"DBT_TARGET": "prod", "ACME__POSTGRES_URL": postgres.url()}
    assert folders.apollo("prepare", "acme", **given).returncode == 0
    return folders.build("acme", **given)


def test_a_tenant_on_postgres_builds_there_in_prod_and_in_duckdb_on_a_laptop(
    folders: TenantFolders, postgres: Postgres
) -> None:
    folders.write("acme", ON_POSTGRES)

    deployed = build_in_prod(folders, postgres)
    local = folders.build("acme")

    for result in (deployed, local):
        assert result.success, failures(result)
        assert materialized(result) == {"stg_sites", "mart_sites"}
        assert set(evaluated(result).values()) == {True}
    assert postgres.rows("select sites from public.mart_sites") == [(1,)]
    assert folders.rows("acme", "select sites from mart_sites") == [(1,)]
    [mart] = [
        event.step_materialization_data.materialization.metadata
        for event in deployed.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[-1] == "mart_sites"
    ]
    assert mart["rows_affected"].value == 1


def test_an_attached_postgres_is_written_by_the_same_run_with_nothing_downloaded(
    folders: TenantFolders, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # where DuckDB would keep what it downloads
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    folders.write("acme", ATTACHED)

    result = build_in_prod(folders, postgres)

    assert result.success, failures(result)
    assert postgres.rows("select sites from attached.mart_sites") == [(1,)]
    assert folders.rows("acme", "select site from stg_sites", target="prod") == [("north",)]
    assert not (tmp_path / "home" / ".duckdb").exists()


def test_on_a_laptop_a_location_loads_without_its_postgres_and_a_run_says_what_is_missing(
    folders: TenantFolders,
) -> None:
    folders.write("acme", ATTACHED)

    result = build(folders.load("acme"), "acme")

    assert not result.success
    assert failures(result).startswith("ACME__POSTGRES_URL: is not set, and the tenant needs postgres.")
    assert folders.apollo("dbt", "acme", "--", "build").returncode == 1


@pytest.mark.parametrize("files", [ATTACHED, ON_POSTGRES], ids=["attached", "warehouse"])
def test_where_it_is_deployed_a_location_without_its_postgres_does_not_load(
    folders: TenantFolders, files: dict[str, str]
) -> None:
    folders.write("acme", files)

    with pytest.raises(SettingsError) as refused:
        folders.load("acme", DBT_TARGET="prod")

    assert [problem.where for problem in refused.value.problems] == ["ACME__POSTGRES_URL"]


def test_a_pull_request_can_be_parsed_with_nothing_set(folders: TenantFolders) -> None:
    folders.write("acme", ATTACHED)
    folders.write("brown", ON_POSTGRES)

    ended = folders.apollo("ci", "gate")

    assert ended.returncode == 0, ended.stdout + ended.stderr
