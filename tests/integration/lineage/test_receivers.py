"""A receiver that is away, slow or refuses, and the settings that name one."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import dagster as dg
import pytest

from dagster_apollo.errors import SettingsError
from tests.support.openlineage import problems_of, receiving
from tests.support.ports import free_port
from tests.support.tenant_folders import TenantFolders

FILES = {"models/one.sql": "select 1 as id", "models/two.sql": "select id from {{ ref('one') }}"}


def warnings(definitions: dg.Definitions, **options: object) -> tuple[dg.ExecuteInProcessResult, list[str]]:
    """Build, and what the run's log then warns of."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def("acme__build")
        result = job.execute_in_process(instance=instance, raise_on_error=False, **options)  # type: ignore[arg-type]
        logged = [entry.user_message for entry in instance.all_logs(result.run_id) if entry.level == 30]
    return result, logged


def test_a_receiver_that_is_away_costs_one_warning_and_nothing_else(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    folders = TenantFolders(tmp_path, OPENLINEAGE_URL=url)
    folders.write("acme", FILES)
    result, logged = warnings(folders.load("acme"))
    assert result.success
    assert logged == [
        f"OpenLineage: 6 of this run's events did not reach {url}: nobody answers there. "
        "Nothing else of the run is affected."
    ]


def test_a_receiver_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        folders = TenantFolders(tmp_path, OPENLINEAGE_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        folders.write("acme", FILES)
        accepting = threading.Thread(target=lambda: [silent.accept() for _ in range(3)], daemon=True)
        accepting.start()
        result, [logged] = warnings(folders.load("acme"))
    assert result.success
    assert "6 of this run's events" in logged
    assert "did not answer in time" in logged


def test_a_refusal_is_told_with_its_status_and_without_the_key(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.status = 401
        folders = TenantFolders(tmp_path, OPENLINEAGE_URL=receiver.url, OPENLINEAGE_API_KEY="canary-of-a-key")
        folders.write("acme", FILES)
        result, [logged] = warnings(folders.load("acme"))
    assert result.success
    assert "6 of this run's events" in logged
    assert "it answered 401" in logged
    assert "canary" not in logged


def test_without_a_receiver_a_run_needs_nothing_of_it(tmp_path: Path) -> None:
    folders = TenantFolders(tmp_path)
    folders.write("acme", FILES)
    definitions = folders.load("acme")
    assert not [key for key in definitions.resources or {} if "openlineage" in key]
    result, logged = warnings(definitions)
    assert result.success
    assert logged == []


def test_tenants_may_have_receivers_and_namespaces_of_their_own(tmp_path: Path) -> None:
    with receiving() as shared, receiving() as own:
        settings = {"ACME__OPENLINEAGE_URL": own.url, "ACME__OPENLINEAGE_NAMESPACE": "acme-data"}
        folders = TenantFolders(tmp_path, OPENLINEAGE_URL=shared.url, **settings)
        folders.write("acme", FILES)
        folders.write("other", FILES)
        assert folders.build("acme").success
        assert folders.build("other").success
    assert {(event["job"]["namespace"], event["job"]["name"].split(".")[0]) for event in own.events} == {
        ("acme-data", "acme")
    }
    assert {(event["job"]["namespace"], event["job"]["name"].split(".")[0]) for event in shared.events} == {
        ("apollo", "other")
    }


def test_assets_launched_by_hand_are_told_as_well(tmp_path: Path) -> None:
    with receiving() as receiver:
        folders = TenantFolders(tmp_path, OPENLINEAGE_URL=receiver.url)
        folders.write("acme", FILES)
        definitions = folders.load("acme")
        with dg.DagsterInstance.ephemeral() as instance:
            job = definitions.resolve_implicit_global_asset_job_def()
            assert job.execute_in_process(
                instance=instance, asset_selection=[dg.AssetKey(["acme", "one"])], raise_on_error=False
            ).success
    assert receiver.kinds() == [
        ("acme.assets", "START"),
        ("acme.model.shop.one", "START"),
        ("acme.model.shop.one", "COMPLETE"),
        ("acme.assets", "COMPLETE"),
    ]
    assert [problem for event in receiver.events for problem in problems_of(event)] == []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("marquez:5000", "is not `http://host:port`"),
        ("http://", "is not `http://host:port`"),
        ("http://user:canary@marquez:5000", "holds more than an address"),
        ("https://marquez/?token=canary", "holds more than an address"),
    ],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused_by_the_variables_name(
    tmp_path: Path, url: str, told: str
) -> None:
    folders = TenantFolders(tmp_path, ACME__OPENLINEAGE_URL=url)
    folders.write("acme", FILES)
    with pytest.raises(SettingsError) as refused:
        folders.load("acme")
    [problem] = refused.value.problems
    assert problem.where == "ACME__OPENLINEAGE_URL"
    assert told in problem.what
    assert "canary" not in str(refused.value)
