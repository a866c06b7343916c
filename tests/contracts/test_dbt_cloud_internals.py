"""What we use of dagster-dbt's dbt Cloud part beyond its public names is still there as we use it."""

from __future__ import annotations

import inspect

import dagster as dg
import dagster_dbt
import pytest

from dagster_apollo.dbt_cloud import dagster_dbt_internals as adapter
from dagster_apollo.dbt_cloud.client import CloudClient, open_workspace
from dagster_apollo.dbt_cloud.connection import Connection

MEMBERS = {
    "DbtCloudWorkspaceClient": (
        "api_v2_url",
        "cancel_run",
        "get_run_artifact",
        "get_run_details",
        "get_run_results_json",
        "get_runs_batch",
        "list_jobs",
    ),
    "DbtCloudWorkspace": ("_get_or_create_dagster_adhoc_jobs", "get_client", "process_config_and_initialize"),
    "DbtCloudJobRunResults": ("to_default_asset_events",),
    "DefinitionsLoadContext": ("get", "load_type"),
}


def moved(what: str) -> str:
    return f"{what}. dagster-dbt {dagster_dbt.__version__}: mend dagster_apollo/dbt_cloud/dagster_dbt_internals.py"


@pytest.mark.parametrize(("name", "members"), MEMBERS.items(), ids=MEMBERS)
def test_a_class_has_the_members_that_we_use(name: str, members: tuple[str, ...]) -> None:
    kind = getattr(adapter, name)

    assert [member for member in members if not hasattr(kind, member)] == [], moved(name)


def test_every_endpoint_asks_through_the_method_that_we_replace() -> None:
    stock = inspect.signature(adapter.DbtCloudWorkspaceClient._make_request)

    assert list(inspect.signature(CloudClient._make_request).parameters) == list(stock.parameters), moved("its request")
    source = inspect.getsource(adapter.DbtCloudWorkspaceClient)
    assert source.count("session.request(") == 1, moved("another method speaks HTTP")


def test_the_client_has_the_fields_that_we_give() -> None:
    wanted = {
        "account_id",
        "token",
        "access_url",
        "request_max_retries",
        "request_retry_delay",
        "request_timeout",
    }

    assert set(adapter.DbtCloudWorkspaceClient.model_fields) == wanted, moved("the client's fields")


def test_the_workspace_hands_out_our_client() -> None:
    workspace = open_workspace(
        Connection("https://ab123.us1.dbt.com", 1, 2, 3, "canary-token"), timeout_seconds=2, tries=3
    )
    client = workspace.get_client()

    assert isinstance(client, CloudClient), moved("get_client")
    assert (client.request_timeout, client.request_max_retries) == (2, 2)
    assert client.api_v2_url == "https://ab123.us1.dbt.com/api/v2/accounts/1"
    assert "canary-token" not in repr((workspace, client))


def test_the_name_of_our_job_begins_as_the_sensor_knows_it() -> None:
    workspace = open_workspace(Connection("https://ab123.us1.dbt.com", 1, 2, 3, "t"))

    assert workspace._get_adhoc_job_name_for_index(0).startswith(adapter.DAGSTER_ADHOC_PREFIX), moved("the job's name")


def test_a_process_that_was_told_nothing_makes_definitions_itself() -> None:
    assert adapter.definitions_are_made_again() is False
    kind = adapter.DefinitionsLoadType.RECONSTRUCTION
    with adapter.DefinitionsLoadContext.scoped(adapter.DefinitionsLoadContext(kind)):
        assert adapter.definitions_are_made_again() is True, moved("DefinitionsLoadContext")


def test_results_become_an_asset_of_the_translators_key() -> None:
    class Silent:
        def get_run_details(self, run_id: int) -> dict[str, object]:
            return {"id": run_id, "status": 10, "href": "https://ab123.us1.dbt.com/run"}

    node = {"resource_type": "model", "config": {}, "unique_id": "model.shop.a", "name": "a", "fqn": ["shop", "a"]}
    result = {"unique_id": "model.shop.a", "status": "success", "execution_time": 1.0, "timing": []}
    results = {"metadata": {"invocation_id": "i", "generated_at": "2026-01-01T00:00:00Z"}, "results": [result]}
    manifest = {"nodes": {"model.shop.a": node}, "sources": {}, "metadata": {}, "child_map": {}, "parent_map": {}}

    class Translator(dagster_dbt.DagsterDbtTranslator):
        def get_asset_spec(self, manifest: object, unique_id: str, project: object) -> dg.AssetSpec:
            return dg.AssetSpec(["tenant", unique_id.split(".")[-1]])

    told = adapter.DbtCloudJobRunResults(run_id=1, run_results=results)
    events = list(told.to_default_asset_events(Silent(), manifest, Translator()))  # type: ignore[arg-type]

    assert [event.asset_key.path for event in events] == [["tenant", "a"]], moved("to_default_asset_events")
