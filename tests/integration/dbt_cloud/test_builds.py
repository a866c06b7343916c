"""Models that dbt Cloud builds: what Dagster selects is what runs there, and what it did is what Dagster shows."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_apollo.dbt_cloud import environment_state
from tests.support.cloud_shop import PROJECT, TENANT, write_project
from tests.support.dbt_cloud import DbtCloud, running_dbt_cloud
from tests.support.tenant_folders import TenantFolders, evaluated, failures, materialized
from tests.support.webserver import wait_until

STG, COUNT, LONELY, RAW = (["shop", name] for name in ("stg_orders", "order_count", "lonely", "raw_orders"))
ALL_PASSED = {
    "stg_orders:unique_stg_orders_id": True,
    "stg_orders:not_null_stg_orders_id": True,
    "order_count:counts": True,
}
SOURCES = {
    "models/sources.yml": """
sources:
  - name: lake
    database: system
    schema: information_schema
    config: {freshness: {error_after: {count: 1, period: day}}}
    tables:
      - name: old
        identifier: tables
        config: {loaded_at_field: "timestamp '2020-01-01'"}
      - name: new
        identifier: columns
        config: {loaded_at_field: current_timestamp}
""",
}
TESTS_ON_SOURCES = [("tables", "some_tables"), ("columns", "no_columns")]
TESTED_SOURCES = {
    "models/sources.yml": """
sources:
  - name: lake
    database: system
    schema: information_schema
    tables:
      - {name: tables}
      - {name: columns}
""",
    "tests/some_tables.sql": "select 1 from {{ source('lake', 'tables') }} where table_name is null\n",
    "tests/no_columns.sql": "select 1 from {{ source('lake', 'columns') }} limit 1\n",
}
WITH_A_FAILING_MODEL = {"models/staging/stg_orders.sql": "select id, amount, nowhere from {{ ref('raw_orders') }}\n"}


@pytest.fixture(scope="module")
def cloud(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DbtCloud]:
    with running_dbt_cloud(project, tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture(scope="module")
def folders(cloud: DbtCloud, tmp_path_factory: pytest.TempPathFactory) -> TenantFolders:
    made = TenantFolders(tmp_path_factory.mktemp("folders"), **cloud.settings("SHOP__"))
    made.write("shop", {"tenant.yaml": TENANT}, as_it_is=True)  # the project is dbt Cloud's alone
    return made


@pytest.fixture(scope="module")
def definitions(folders: TenantFolders) -> dg.Definitions:
    return folders.load("shop")


@pytest.fixture(autouse=True)
def _as_it_was(project: Path, cloud: DbtCloud) -> Iterator[None]:
    yield
    write_project(project)
    cloud.be()


def run(
    definitions: dg.Definitions, *keys: list[str], selection: dg.AssetSelection | None = None
) -> dg.ExecuteInProcessResult:
    """Materialize assets, all of them unless some are named."""
    wanted = selection or (dg.AssetSelection.assets(*map(dg.AssetKey, keys)) if keys else dg.AssetSelection.all())
    job = dg.define_asset_job("chosen", selection=wanted)
    merged = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
    with dg.DagsterInstance.ephemeral() as instance:
        return merged.resolve_job_def("chosen").execute_in_process(instance=instance, raise_on_error=False)


def commands(cloud: DbtCloud) -> list[str]:
    """What dbt Cloud was told to run, without the parse of the load."""
    steps = [override for entry in cloud.runs() for override in entry["trigger"]["steps_override"] or []]
    return [step for step in steps if step != "dbt parse"]


def test_everything_is_built_by_one_run_there(definitions: dg.Definitions, cloud: DbtCloud) -> None:
    result = run(definitions)

    assert result.success
    assert materialized(result) == {"raw_orders", "stg_orders", "order_count", "lonely"}
    assert evaluated(result) == ALL_PASSED
    assert commands(cloud)[-1] == "dbt build --select 'fqn:*' --indirect-selection empty"
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(COUNT)]
    assert event.materialization.metadata["run_url"].value == cloud.runs()[-1]["href"]


def test_models_are_named_grouped_and_described_as_any_tenants(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    node = graph.get(dg.AssetKey(STG))

    assert (node.group_name, node.description) == ("staging", "Orders as they came.")
    assert {key.to_user_string() for key in node.parent_keys} == {"shop/raw_orders"}
    assert "dbtcloud" in node.kinds
    assert node.metadata["dagster_dbt/cloud_project_id"] == 8


def test_an_asset_with_what_is_downstream_runs_alone(definitions: dg.Definitions, cloud: DbtCloud) -> None:
    cloud.run()
    result = run(definitions, STG, COUNT)

    assert materialized(result) == {"stg_orders", "order_count"}
    assert "fqn:shop.staging.stg_orders" in commands(cloud)[-1]
    assert "raw_orders" not in commands(cloud)[-1]


def test_a_check_is_run_by_itself(definitions: dg.Definitions, cloud: DbtCloud) -> None:
    cloud.run()
    key = dg.AssetCheckKey(dg.AssetKey(STG), "unique_stg_orders_id")
    result = run(definitions, selection=dg.AssetSelection.checks(key))

    assert (result.success, materialized(result)) == (True, set())
    assert evaluated(result) == {"stg_orders:unique_stg_orders_id": True}


def test_a_broken_model_shows_the_warehouses_words_and_the_runs_address(
    definitions: dg.Definitions, project: Path, cloud: DbtCloud
) -> None:
    write_project(project, **WITH_A_FAILING_MODEL)
    result = run(definitions)

    assert not result.success
    assert materialized(result) == {"raw_orders", "lonely"}
    assert "model stg_orders" in failures(result)
    assert 'Referenced column "nowhere" not found' in failures(result)
    assert "skipped, because of the above" in failures(result)
    assert cloud.runs()[-1]["href"] in failures(result)


def test_a_test_that_fails_is_a_failed_check_and_one_that_is_skipped_is_none(
    definitions: dg.Definitions, project: Path
) -> None:
    write_project(project, **{"seeds/raw_orders.csv": "id,amount\n1,10\n1,20\n"})
    result = run(definitions)

    assert not result.success
    assert evaluated(result) == {"stg_orders:unique_stg_orders_id": False, "stg_orders:not_null_stg_orders_id": True}
    assert "Got 1 result, configured to fail if != 0" in failures(result)


def test_a_project_that_no_longer_parses_shows_dbts_own_words(
    definitions: dg.Definitions, project: Path, cloud: DbtCloud
) -> None:
    write_project(project, **{"models/marts/lonely.sql": "select * from {{ ref('gone') }}\n"})
    result = run(definitions)

    assert materialized(result) == set()
    assert "depends on a node named 'gone' which was not found" in failures(result)
    assert cloud.runs()[-1]["href"] in failures(result)


def test_a_run_that_is_cancelled_there_says_so(definitions: dg.Definitions, cloud: DbtCloud) -> None:
    cloud.be(queue_seconds=600)
    known = {entry["id"] for entry in cloud.runs()}
    script = subprocess.Popen([sys.executable, "-c", _CANCEL_THE_NEXT, cloud.url, cloud.token, str(max(known))])
    result = run(definitions)

    assert script.wait(60) == 0
    assert "it was cancelled in dbt Cloud" in failures(result)


@pytest.mark.parametrize("outage", [{"status": 503}, {"page": True}], ids=["refused", "a proxy's page"])
def test_an_outage_during_a_run_is_waited_through(
    definitions: dg.Definitions, cloud: DbtCloud, capfd: pytest.CaptureFixture[str], outage: dict[str, object]
) -> None:
    cloud.be(step_seconds=600)
    last = max(entry["id"] for entry in cloud.runs())
    code = f"outage = {outage!r}\n{_OUTAGE_ONCE_IT_RUNS}"
    script = subprocess.Popen([sys.executable, "-c", code, cloud.url, cloud.token, str(last)])
    result = run(definitions)

    assert script.wait(120) == 0
    assert result.success
    assert "The run goes on there; it is asked again." in capfd.readouterr().err


def test_an_interrupted_step_cancels_its_run(folders: TenantFolders, cloud: DbtCloud) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _BUILD],
        env=folders.of_tenant("shop"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "loaded\n"
    cloud.be(step_seconds=600)
    last = max(entry["id"] for entry in cloud.runs())
    process.stdin.write("go on\n")
    process.stdin.flush()
    wait_until(lambda: cloud.runs()[-1]["id"] > last and cloud.runs()[-1]["status"] == 3, "it runs in dbt Cloud")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert cloud.ended(last + 1)["status_humanized"] == "Cancelled"


def test_a_job_that_somebody_deleted_is_made_again(definitions: dg.Definitions, cloud: DbtCloud) -> None:
    cloud.client().destroy_job(cloud.jobs()["DAGSTER_ADHOC_JOB__8__9"])

    assert run(definitions, LONELY).success
    assert "DAGSTER_ADHOC_JOB__8__9" in cloud.jobs()


def test_dbt_cloud_that_refuses_is_named_with_its_reason_and_no_token(
    definitions: dg.Definitions, cloud: DbtCloud, capfd: pytest.CaptureFixture[str]
) -> None:
    cloud.be(status=401)
    result = run(definitions)
    cloud.be()

    assert "answered 401" in failures(result)
    assert "Invalid token." in failures(result)
    assert "DBT_CLOUD_ACCESS_URL" in failures(result)
    captured = capfd.readouterr()
    assert cloud.token not in failures(result) + captured.out + captured.err


def test_how_fresh_a_source_is_is_measured_there(
    cloud: DbtCloud, project: Path, folders: TenantFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_state, "FRESH_SECONDS", 0.0)
    cloud.run(steps=["dbt seed"])
    write_project(project, **SOURCES)
    loaded = folders.load("shop")
    with dg.DagsterInstance.ephemeral() as instance:
        job = loaded.resolve_job_def("shop__freshness")
        measured = job.execute_in_process(instance=instance, raise_on_error=False)
    for path in SOURCES:
        (project / path).unlink()

    assert evaluated(measured) == {"lake/old:source_freshness": False, "lake/new:source_freshness": True}
    assert commands(cloud)[-1].startswith("dbt source freshness --select source:shop.lake.")


def test_tests_on_sources_that_no_model_reads_run_there(
    cloud: DbtCloud, project: Path, folders: TenantFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_state, "FRESH_SECONDS", 0.0)
    write_project(project, **TESTED_SOURCES)
    loaded = folders.load("shop")
    keys = [dg.AssetCheckKey(dg.AssetKey(["shop", "lake", name]), check) for name, check in TESTS_ON_SOURCES]
    tested = run(loaded, selection=dg.AssetSelection.checks(*keys))
    for path in TESTED_SOURCES:
        (project / path).unlink()

    assert evaluated(tested) == {"lake/tables:some_tables": True, "lake/columns:no_columns": False}
    assert "test no_columns" in failures(tested)
    assert commands(cloud)[-1].startswith("dbt test --select ")


def test_without_a_token_a_laptop_shows_the_folders_project_and_builds_nothing(tmp_path: Path) -> None:
    folders = TenantFolders(tmp_path)
    folders.write("shop", {**PROJECT, "tenant.yaml": TENANT})
    definitions = folders.load("shop")

    assert definitions.resolve_asset_graph().has(dg.AssetKey(COUNT))
    assert "DBT_CLOUD_TOKEN: is not set" in failures(run(definitions))


_CLIENT = """
import sys, time, httpx
url, token, last = sys.argv[1:]
def ask(method, path, **request):
    return httpx.request(method, url + path, headers={"Authorization": "Token " + token}, **request)
def newest():
    [run] = ask("GET", "/api/v2/accounts/7/runs/?order_by=-id&limit=1").json()["data"]
    return run if run["id"] > int(last) else None
"""
_CANCEL_THE_NEXT = f"""{_CLIENT}
while not (run := newest()):
    time.sleep(0.05)
assert ask("POST", f"/api/v2/accounts/7/runs/{{run['id']}}/cancel/").status_code == 200
"""
_OUTAGE_ONCE_IT_RUNS = f"""{_CLIENT}
while not ((run := newest()) and run["status"] == 3):
    time.sleep(0.05)
ask("POST", "/_conditions", json={{**outage, "step_seconds": 600}})
time.sleep(8)
ask("POST", "/_conditions", json={{}})
"""
_BUILD = """
import os
import dagster as dg
from dagster_apollo.code_host.code_location import load
definitions = load(dict(os.environ))
print("loaded", flush=True)
input()
with dg.DagsterInstance.ephemeral() as instance:
    definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
"""
