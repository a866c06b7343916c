"""A location comes up whether dbt Cloud answers or not, and says what it shows."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from dagster_apollo.dbt_cloud import environment_state
from dagster_apollo.dbt_cloud.dagster_dbt_internals import DefinitionsLoadContext, DefinitionsLoadType
from dagster_apollo.dbt_cloud.kept_state import STATE_FILE
from dagster_apollo.errors import TenantError
from tests.support.cloud_shop import PROJECT, TENANT, write_project
from tests.support.dbt_cloud import DbtCloud
from tests.support.tenant_folders import TenantFolders

IMPATIENT = TENANT.replace("poll_seconds: 1", "poll_seconds: 1, load_seconds: 4")
NEW_MODEL = {"models/marts/brand_new.sql": "select 1 as id\n"}


@pytest.fixture(autouse=True)
def _every_load_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_state, "FRESH_SECONDS", 0.0)


@pytest.fixture
def cloud(running: DbtCloud, project: Path) -> Iterator[DbtCloud]:
    yield running
    running.be()
    (project / next(iter(NEW_MODEL))).unlink(missing_ok=True)
    write_project(project)


@pytest.fixture
def folders(cloud: DbtCloud, tmp_path: Path) -> TenantFolders:
    made = TenantFolders(tmp_path, **cloud.settings("SHOP__"))
    made.write("shop", {"tenant.yaml": TENANT}, as_it_is=True)
    return made


def names(definitions: dg.Definitions) -> set[str]:
    return {key.path[-1] for key in definitions.resolve_asset_graph().get_all_asset_keys()}


def said(definitions: dg.Definitions) -> str:
    return str((definitions.metadata or {})["dbt Cloud"].value)


def impatient(folders: TenantFolders) -> None:
    (folders.tenants_dir / "shop" / "tenant.yaml").write_text(IMPATIENT, encoding="utf-8")


def test_a_location_shows_the_project_as_dbt_cloud_has_it_now(
    folders: TenantFolders, cloud: DbtCloud, project: Path
) -> None:
    before = names(folders.load("shop"))
    write_project(project, **NEW_MODEL)
    now = folders.load("shop")

    assert names(now) - before == {"brand_new"}
    assert "read 2" in said(now)
    assert "last known" not in said(now)


def test_dbt_cloud_that_is_down_leaves_the_last_known_state(
    folders: TenantFolders, cloud: DbtCloud, caplog: pytest.LogCaptureFixture
) -> None:
    known = names(folders.load("shop"))
    cloud.be(status=503)
    definitions = folders.load("shop")

    assert names(definitions) == known
    assert said(definitions).startswith("the last known state, of 2")
    assert "answered 503" in said(definitions)
    assert "shop: the last known state" in caplog.text


def test_a_proxys_page_in_the_place_of_an_answer_leaves_the_last_known_state(
    folders: TenantFolders, cloud: DbtCloud
) -> None:
    known = names(folders.load("shop"))
    cloud.be(page=True)
    definitions = folders.load("shop")

    assert names(definitions) == known
    assert "answered 200 to GET" in said(definitions)


def test_dbt_cloud_that_does_not_answer_is_given_up_soon(
    folders: TenantFolders, cloud: DbtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = names(folders.load("shop"))
    monkeypatch.setattr(environment_state, "REQUEST_SECONDS", 1)
    cloud.be(answer_seconds=60)
    definitions = folders.load("shop")

    assert names(definitions) == known
    assert "did not answer within 1 s" in said(definitions)


def test_a_parse_that_takes_long_is_taken_up_by_the_next_load(
    folders: TenantFolders, cloud: DbtCloud, project: Path
) -> None:
    folders.load("shop")
    impatient(folders)
    write_project(project, **NEW_MODEL)
    cloud.be(queue_seconds=600)
    early = folders.load("shop")
    runs = len(cloud.runs())
    cloud.be()
    cloud.ended(cloud.runs()[-1]["id"])
    late = folders.load("shop")

    assert "brand_new" not in names(early)
    assert "is slow" in said(early)
    assert "brand_new" in names(late)
    assert len(cloud.runs()) == runs


def test_a_first_load_that_is_slow_takes_the_manifest_of_the_last_run(
    folders: TenantFolders, cloud: DbtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_state, "FIRST_SECONDS", 2.0)
    cloud.run()
    cloud.be(queue_seconds=600)
    definitions = folders.load("shop")
    cloud.be()

    assert "order_count" in names(definitions)
    assert said(definitions).startswith("the last known state")


def test_a_project_that_dbt_cloud_cannot_parse_leaves_the_last_known_state_with_dbts_words(
    folders: TenantFolders, cloud: DbtCloud, project: Path
) -> None:
    known = names(folders.load("shop"))
    write_project(project, **{"models/marts/lonely.sql": "select * from {{ ref('gone') }}\n"})
    definitions = folders.load("shop")

    assert names(definitions) == known
    assert "depends on a node named 'gone' which was not found" in said(definitions)
    assert cloud.runs()[-1]["href"] in said(definitions)


def test_a_process_that_carries_out_a_run_asks_nothing(folders: TenantFolders, cloud: DbtCloud) -> None:
    known = names(folders.load("shop"))
    runs = len(cloud.runs())
    with DefinitionsLoadContext.scoped(DefinitionsLoadContext(DefinitionsLoadType.RECONSTRUCTION)):
        cloud.be(status=500)
        definitions = folders.load("shop")
    cloud.be()

    assert names(definitions) == known
    assert len(cloud.runs()) == runs


def test_several_loads_at_once_are_one_question(
    folders: TenantFolders, cloud: DbtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_state, "FRESH_SECONDS", 600.0)
    folders.load("shop")
    runs = len(cloud.runs())
    folders.load("shop")

    assert len(cloud.runs()) == runs


def test_a_load_that_was_in_vain_is_not_tried_again_at_once(
    cloud: DbtCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = TenantFolders(tmp_path, **cloud.settings("SHOP__"))
    folders.write("shop", {**PROJECT, "tenant.yaml": IMPATIENT})
    monkeypatch.setattr(environment_state, "FRESH_SECONDS", 600.0)
    cloud.be(queue_seconds=600)
    folders.load("shop")
    runs = len(cloud.runs())
    cloud.be()
    soon = folders.load("shop")
    asked_soon = len(cloud.runs()) - runs
    monkeypatch.setattr(environment_state, "FRESH_SECONDS", 0.0)
    later = folders.load("shop")

    assert asked_soon == 0
    assert "is slow" in said(soon)
    assert "UTC on asks again" in said(soon)
    assert "asks again" not in str(later.metadata)


def test_a_process_that_carries_out_a_run_does_not_wait_for_a_location_that_loads(
    folders: TenantFolders, cloud: DbtCloud
) -> None:
    known = names(folders.load("shop"))
    [kept] = folders.state_dir.rglob(STATE_FILE)
    with (kept.parent / environment_state.LOCK_FILE).open("w") as loading, ThreadPoolExecutor(1) as worker:
        fcntl.flock(loading, fcntl.LOCK_EX)
        made = worker.submit(_made_again, folders)
        try:
            definitions = made.result(timeout=60)
        finally:
            fcntl.flock(loading, fcntl.LOCK_UN)

    assert names(definitions) == known


def _made_again(folders: TenantFolders) -> dg.Definitions:
    with DefinitionsLoadContext.scoped(DefinitionsLoadContext(DefinitionsLoadType.RECONSTRUCTION)):
        return folders.load("shop")


def test_with_nothing_known_the_folders_own_project_is_shown(cloud: DbtCloud, tmp_path: Path) -> None:
    folders = TenantFolders(tmp_path, **cloud.settings("SHOP__"))
    folders.write("shop", {**PROJECT, "tenant.yaml": IMPATIENT})
    cloud.be(status=503)
    definitions = folders.load("shop")

    assert "order_count" in names(definitions)
    assert said(definitions).startswith("the models are those of the tenant's folder, dbt Cloud was never read")


def test_with_nothing_known_and_no_project_the_load_error_names_the_environment(
    folders: TenantFolders, cloud: DbtCloud
) -> None:
    cloud.be(status=503)
    with pytest.raises(TenantError) as error:
        folders.load("shop")

    assert f"{cloud.url}/deploy/7/projects/8/environments/9" in str(error.value)
    assert "answered 503" in str(error.value)


def test_what_is_known_of_another_environment_is_not_shown(folders: TenantFolders, cloud: DbtCloud) -> None:
    folders.load("shop")
    other = TENANT.replace("environment_id: 9", "environment_id: 10")
    (folders.tenants_dir / "shop" / "tenant.yaml").write_text(other, encoding="utf-8")

    with pytest.raises(TenantError, match="environments/10"):
        folders.load("shop")
