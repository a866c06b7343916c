"""dbt Cloud without dbt Cloud: which settings name an environment, what is kept of it, and what a run's logs say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagster_apollo.dbt_cloud import runs
from dagster_apollo.dbt_cloud.builds import with_slim_ids
from dagster_apollo.dbt_cloud.client import open_workspace
from dagster_apollo.dbt_cloud.connection import Connection, connection_of
from dagster_apollo.dbt_cloud.kept_state import (
    ASKED_FILE,
    STATE_FILE,
    Asked,
    KnownState,
    load_asked,
    load_state,
    save_asked,
    save_state,
)
from dagster_apollo.dbt_cloud.runs import CloudRun
from dagster_apollo.errors import DbtCloudError, SettingsError, TenantError
from dagster_apollo.tenant import load_tenant
from tests.support.canned_http import canned_http
from tests.support.shop_tenant import open_shop, places_below

TENANT = "warehouse: dbt_cloud\ndbt_cloud: {account_id: 7, project_id: 8, environment_id: 9}\n"
TOKEN = "dbtc_canary_4711"
HOST = "https://ab123.us1.dbt.com"


def connection(tmp_path: Path, **environ: str) -> Connection | None:
    workspace = open_shop(tmp_path, environ, TENANT)
    return connection_of(workspace.tenant, workspace.values)


def refused(tmp_path: Path, **environ: str) -> str:
    with pytest.raises(SettingsError) as error:
        connection(tmp_path, **environ)
    assert TOKEN not in str(error.value)
    return str(error.value)


# ---- Settings. ----


def test_numbers_come_from_the_folder_and_the_rest_from_the_environment(tmp_path: Path) -> None:
    found = connection(tmp_path, DBT_TARGET="prod", SHOP__DBT_CLOUD_TOKEN=TOKEN, DBT_CLOUD_ACCESS_URL=f"{HOST}/")

    assert found == Connection(HOST, 7, 8, 9, TOKEN)
    assert TOKEN not in repr(found)


def test_on_a_laptop_nothing_need_be_set(tmp_path: Path) -> None:
    assert connection(tmp_path) is None


@pytest.mark.parametrize("target", ["dev", "prod"])
def test_elsewhere_a_missing_token_is_named(tmp_path: Path, target: str) -> None:
    assert "DBT_CLOUD_TOKEN: is not set" in refused(tmp_path, DBT_TARGET=target)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("ab123.us1.dbt.com", "is not an address of the form"),
        ("ftp://ab123.us1.dbt.com", "is not an address of the form"),
        (f"https://user:{TOKEN}@ab123.us1.dbt.com", "is not an address of the form"),
        (f"{HOST}:port", "is not an address"),
        (f"{HOST}/deploy/7", "has more in it than scheme and host"),
    ],
)
def test_an_address_that_is_none_is_named_without_its_value(tmp_path: Path, url: str, what: str) -> None:
    told = refused(tmp_path, DBT_CLOUD_TOKEN=TOKEN, SHOP__DBT_CLOUD_ACCESS_URL=url)

    assert f"SHOP__DBT_CLOUD_ACCESS_URL: {what}" in told


def test_all_that_is_wrong_is_told_together(tmp_path: Path) -> None:
    told = refused(tmp_path, DBT_CLOUD_TOKEN=f"{TOKEN} \u200b {TOKEN}", DBT_CLOUD_ACCESS_URL="x")

    assert "DBT_CLOUD_TOKEN: holds a blank" in told
    assert "DBT_CLOUD_ACCESS_URL: is not an address" in told


# ---- The folder. ----


@pytest.mark.parametrize(
    "config",
    ["warehouse: dbt_cloud\n", "warehouse: duckdb\ndbt_cloud: {account_id: 7, project_id: 8, environment_id: 9}\n"],
)
def test_the_warehouse_and_its_numbers_go_together(tmp_path: Path, config: str) -> None:
    with pytest.raises(TenantError, match="go together"):
        open_shop(tmp_path, {}, config)


def test_the_project_may_be_elsewhere_with_dbt_cloud_alone(tmp_path: Path) -> None:
    places = places_below(tmp_path)
    for name, config in (("cloud", TENANT), ("here", "warehouse: duckdb\n")):
        (places.tenants_dir / name).mkdir()
        (places.tenants_dir / name / "tenant.yaml").write_text(config)

    assert load_tenant(places.tenants_dir, "cloud").has_project is False
    with pytest.raises(TenantError, match=r"holds no dbt_project\.yml"):
        load_tenant(places.tenants_dir, "here")


# ---- What is kept. ----


def state(place: str = "there") -> KnownState:
    return KnownState(place, datetime(2026, 1, 2, 3, 4, tzinfo=UTC), {"nodes": {}}, {5: "Daily build"}, 6, 70)


def test_what_was_kept_is_read_as_it_was(tmp_path: Path) -> None:
    save_state(tmp_path, state())

    assert load_state(tmp_path, "there") == state()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"place": "there"}'])
def test_what_cannot_be_read_is_not_known(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STATE_FILE).write_bytes(content)

    assert load_state(tmp_path, "there") is None


def test_what_is_known_of_one_environment_is_not_another_s(tmp_path: Path) -> None:
    save_state(tmp_path, state("elsewhere"))

    assert load_state(tmp_path, "there") is None


def test_when_it_was_asked_and_why_in_vain_is_kept_for_one_environment(tmp_path: Path) -> None:
    asked = Asked("there", datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "is slow")
    save_asked(tmp_path, asked)

    assert load_asked(tmp_path, "there") == asked
    assert load_asked(tmp_path, "elsewhere") is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"place": "there"}', b'{"at": "2026-01-02T03:04:00Z", "x": 1}']
)
def test_what_cannot_be_read_was_never_asked(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ASKED_FILE).write_bytes(content)

    assert load_asked(tmp_path, "there") is None


# ---- Runs. ----


def ended(*steps: dict[str, object], **details: object) -> CloudRun:
    client = open_workspace(Connection(HOST, 7, 8, 9, TOKEN)).get_client()
    return CloudRun(client, 1, f"{HOST}/run", {"status": 20, "run_steps": list(steps), **details})


def test_errors_are_dbts_words_without_its_clock() -> None:
    log = (
        "09:00:01  Running with dbt=1.11\n"
        "\x1b[0m09:00:02.123  Encountered an error:\n"
        "Compilation Error in model a\n  'b' was not found\n"
    )
    steps = ({"name": "Clone", "status": 10, "logs": "fine"}, {"name": "Invoke dbt", "status": 20, "logs": log})

    assert ended(*steps).errors() == ["Invoke dbt: Compilation Error in model a 'b' was not found"]


def test_without_a_step_that_failed_dbt_cloud_says_why() -> None:
    assert ended(status_message="This run timed out").errors() == ["This run timed out"]
    assert ended().errors() == []


class NeverEnding:
    """A client of a dbt Cloud in which a run goes on whatever it is told."""

    def cancel_run(self, run_id: int) -> dict[str, object]:
        return {"id": run_id, "status": 3}

    def get_run_details(self, run_id: int, include_related: object = None) -> dict[str, object]:
        return {"id": run_id, "status": 3}


def test_a_run_that_goes_on_after_it_was_cancelled_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "CANCEL_SECONDS", 0.0)
    warned: list[str] = []
    CloudRun(NeverEnding(), 5, f"{HOST}/run", {"status": 3}).cancel(warned.append)  # type: ignore[arg-type]

    [told] = warned
    assert "the dbt Cloud run 5 was cancelled and has not ended" in told
    assert f"{HOST}/run" in told


# ---- Answers. ----


@pytest.mark.parametrize("content", ["We will be back soon.", [], {"maintenance": True}, {"data": None}])
def test_an_answer_that_is_not_the_apis_is_none(content: object) -> None:
    with canned_http(lambda path, body: (200, content)) as port:
        client = open_workspace(Connection(f"http://127.0.0.1:{port}", 7, 8, 9, TOKEN)).get_client()
        with pytest.raises(DbtCloudError, match="answered 200 to POST") as error:
            client.ask("post", "jobs/1/run")

    assert error.value.status is None


def test_a_test_that_was_skipped_is_no_result() -> None:
    results = {
        "results": [{"unique_id": "test.a", "status": "skipped"}, {"unique_id": "unit_test.b", "status": "pass"}]
    }

    assert [result["unique_id"] for result in with_slim_ids(results)["results"]] == ["test.unit_test.b"]
    assert with_slim_ids(results, {"model.c"})["results"] == []
