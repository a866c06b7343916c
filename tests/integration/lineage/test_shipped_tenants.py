"""The tenants that ship, built whole, as an OpenLineage receiver sees them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_apollo import environment
from dagster_apollo.code_host import code_location
from dagster_apollo.dbt.workspace import repository_root
from tests.support.openlineage import Receiver, problems_of, receiving
from tests.support.postgres import Postgres
from tests.support.tenant_folders import TenantFolders, failures

FIRST_DAY, LAST_DAY = "2026-05-01", "2026-05-03"
DAYS = {"dagster/asset_partition_range_start": FIRST_DAY, "dagster/asset_partition_range_end": LAST_DAY}


def build(folder: Path, tenant: str, receiver: Receiver, tags: Mapping[str, str], **settings: str) -> None:
    variables = TenantFolders(folder).environ(OPENLINEAGE_URL=receiver.url, **settings)
    variables["APOLLO_TENANTS_DIR"] = str(repository_root() / "tenants")
    own = {**environment.for_tenant(variables, tenant), code_location.TENANT_VARIABLE: tenant}
    with dg.DagsterInstance.ephemeral() as instance:
        job = code_location.load(own).resolve_job_def(f"{tenant}__build")
        result = job.execute_in_process(instance=instance, raise_on_error=False, tags=dict(tags))
    assert result.success, failures(result)


def problems(receiver: Receiver) -> list[str]:
    return [problem for event in receiver.events for problem in problems_of(event)]


def outputs(receiver: Receiver) -> dict[str, dict[str, Any]]:
    """The table that each node wrote, by the node's name."""
    return {
        event["job"]["name"].rpartition(".")[2]: event["outputs"][0]
        for event in receiver.events
        if event["eventType"] == "COMPLETE" and event.get("outputs")
    }


def test_bioreactors_marts_are_tables_of_its_postgres_made_of_columns_of_its_duckdb(
    tmp_path: Path, postgres: Postgres
) -> None:
    with receiving() as receiver:
        build(tmp_path, "bioreactor", receiver, DAYS, BIOREACTOR__POSTGRES_URL=postgres.url())
    assert problems(receiver) == []
    written = outputs(receiver)
    marts = {name: table for name, table in written.items() if name.startswith("mart_")}
    assert len(marts) == 3
    assert {table["namespace"].split(":")[0] for table in marts.values()} == {"postgres"}
    assert all(".mart.mart_" in table["name"] for table in marts.values())
    curated = {table["namespace"] for name, table in written.items() if name.startswith("cur_")}
    [duckdb] = curated
    assert duckdb.startswith("duckdb:")
    made_of = {
        field["namespace"]
        for table in marts.values()
        for column in table["facets"]["columnLineage"]["fields"].values()
        for field in column["inputFields"]
    }
    assert duckdb in made_of
    for event in receiver.events:
        times = event["run"]["facets"]["nominalTime"]
        assert times["nominalStartTime"].startswith(f"{FIRST_DAY}T00:00:00")
        assert times["nominalEndTime"].startswith("2026-05-04T00:00:00")


def test_every_model_of_dbt_williamgrant_has_a_schema_and_where_it_reads_anything_the_origins_of_its_columns(
    tmp_path: Path,
) -> None:
    with receiving() as receiver:
        build(tmp_path, "dbt_williamgrant", receiver, {})
    assert problems(receiver) == []
    models = {
        event["job"]["name"]: event
        for event in receiver.events
        if event["eventType"] == "COMPLETE" and event["job"]["facets"]["jobType"]["jobType"] == "MODEL"
    }
    assert len(models) > 10
    for facet, expected in (
        ("schema", models.values()),
        ("columnLineage", [e for e in models.values() if e["inputs"]]),
    ):
        lacking = [event["job"]["name"] for event in expected if facet not in event["outputs"][0]["facets"]]
        assert lacking == [], facet
