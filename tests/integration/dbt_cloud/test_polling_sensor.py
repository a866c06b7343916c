"""Runs that dbt Cloud starts by itself appear in Dagster, each once and whole."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from dagster_apollo.errors import DbtCloudError
from tests.support.cloud_shop import TENANT, write_project
from tests.support.dbt_cloud import DbtCloud
from tests.support.tenant_folders import TenantFolders

SENSOR = "dbt_cloud_polling_sensor"


@pytest.fixture(scope="module")
def definitions(running: DbtCloud, tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    folders = TenantFolders(tmp_path_factory.mktemp("folders"), **running.settings("SHOP__"))
    folders.write("shop", {"tenant.yaml": TENANT}, as_it_is=True)
    loaded = folders.load("shop")
    running.run(steps=["dbt seed"])
    return loaded


class Ticks:
    """A sensor and its cursor from tick to tick."""

    def __init__(self, definitions: dg.Definitions) -> None:
        self._sensor = definitions.get_sensor_def(SENSOR)
        self.cursor: str | None = None

    def tick(self) -> list[str]:
        """What one tick records: models, and checks as `check passed` or `check failed`."""
        context = dg.build_sensor_context(cursor=self.cursor)
        result = self._sensor(context)
        self.cursor = context.cursor
        return [_shown(event) for event in result.asset_events] if isinstance(result, dg.SensorResult) else []


def _shown(event: object) -> str:
    if isinstance(event, dg.AssetCheckEvaluation):
        return f"{event.check_name} {'passed' if event.passed else 'failed'}"
    assert isinstance(event, dg.AssetMaterialization)
    return event.asset_key.to_user_string()


@pytest.fixture
def ticks(definitions: dg.Definitions) -> Ticks:
    """A sensor that has looked once, so that what other tests did is behind it."""
    made = Ticks(definitions)
    made.tick()
    return made


def test_it_runs_by_declaration_as_often_as_the_tenant_says(definitions: dg.Definitions) -> None:
    sensor = definitions.get_sensor_def(SENSOR)

    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 1


def test_a_run_there_is_recorded_once_with_its_tests(ticks: Ticks, cloud: DbtCloud) -> None:
    cloud.run()
    first, second = ticks.tick(), ticks.tick()

    assert sorted(first) == [
        "counts passed",
        "not_null_stg_orders_id passed",
        "shop/lonely",
        "shop/order_count",
        "shop/raw_orders",
        "shop/stg_orders",
        "unique_stg_orders_id passed",
    ]
    assert second == []


def test_a_run_that_built_nothing_does_not_hide_those_after_it(ticks: Ticks, cloud: DbtCloud) -> None:
    cloud.run(steps=["dbt run --select lonely"])
    cloud.run(steps=["dbt --version"])
    cloud.run(steps=["dbt test --select unique_stg_orders_id"])
    cloud.run(steps=["dbt run --select order_count"])

    assert ticks.tick() == ["shop/lonely", "unique_stg_orders_id passed", "shop/order_count"]


def test_what_dagster_had_built_is_not_recorded_again(
    ticks: Ticks, definitions: dg.Definitions, cloud: DbtCloud
) -> None:
    job = dg.define_asset_job("one", selection=dg.AssetSelection.assets(["shop", "lonely"]))
    built = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job])).resolve_job_def("one").execute_in_process()

    assert built.success
    assert ticks.tick() == []


def test_a_run_that_failed_is_recorded_as_far_as_it_came(ticks: Ticks, cloud: DbtCloud, project: Path) -> None:
    write_project(project, **{"models/marts/order_count.sql": "select nowhere from {{ ref('stg_orders') }}\n"})
    cloud.run(steps=["dbt run --select stg_orders order_count"])
    write_project(project)

    assert ticks.tick() == ["shop/stg_orders"]


def test_a_model_that_the_location_does_not_know_is_passed_over(ticks: Ticks, cloud: DbtCloud, project: Path) -> None:
    write_project(project, **{"models/marts/brand_new.sql": "select 1 as id\n"})
    cloud.run(steps=["dbt run --select brand_new lonely"])
    (project / "models/marts/brand_new.sql").unlink()

    assert ticks.tick() == ["shop/lonely"]


def test_what_ends_during_an_outage_is_recorded_after_it(ticks: Ticks, cloud: DbtCloud) -> None:
    cloud.run(steps=["dbt run --select lonely"])
    cloud.be(status=503)
    before = ticks.cursor
    with pytest.raises(DbtCloudError, match="answered 503"):
        ticks.tick()

    assert ticks.cursor == before
    cloud.be()
    assert ticks.tick() == ["shop/lonely"]


def test_two_runs_that_end_in_one_list_are_both_recorded_over_pages(
    ticks: Ticks, cloud: DbtCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_dbt.cloud_v2.client.DAGSTER_DBT_CLOUD_BATCH_RUNS_REQUEST_LIMIT", 1)
    cloud.run(steps=["dbt run --select lonely"])
    cloud.run(steps=["dbt run --select stg_orders"])

    assert ticks.tick() == ["shop/lonely", "shop/stg_orders"]
