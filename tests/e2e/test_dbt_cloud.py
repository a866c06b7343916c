"""dbt Cloud behind real processes: its own runs by the daemon's sensor, Dagster's by hand, one cancelled, an outage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dagster_apollo.dbt_cloud.environment_state import FRESH_SECONDS
from tests.support.cloud_shop import TENANT, write_project
from tests.support.dbt_cloud import DbtCloud, running_dbt_cloud
from tests.support.stack import COMMAND, Stack, StartStack, bare_environment
from tests.support.tenant_folders import TenantFolders
from tests.support.webserver import wait_until

pytestmark = pytest.mark.slow

ASSETS = ["shop/raw_orders", "shop/stg_orders", "shop/order_count", "shop/lonely"]
_TERMINATE = "mutation Stop($id: String!) { terminateRun(runId: $id) { __typename } }"
_RELOAD = 'mutation { reloadRepositoryLocation(repositoryLocationName: "shop") { __typename } }'


@dataclass(frozen=True)
class Shop:
    """The tenant, served, and the dbt Cloud that builds it."""

    stack: Stack
    cloud: DbtCloud

    def latest(self, asset: str) -> dict[str, Any]:
        """The last materialization of an asset, with its metadata by label."""
        [latest] = self.stack.webserver.assets("shop")[asset]["assetMaterializations"] or [{"metadataEntries": []}]
        entries = {entry["label"]: next(iter(_values(entry)), None) for entry in latest["metadataEntries"]}
        return {"runId": latest.get("runId"), **entries}

    def builds(self) -> list[dict[str, Any]]:
        """The runs in dbt Cloud that are no parse, the oldest first."""
        return [run for run in self.cloud.runs() if run["trigger"]["steps_override"] != ["dbt parse"]]


def _values(entry: dict[str, Any]) -> list[Any]:
    return [value for key, value in entry.items() if key not in ("label", "description") and value is not None]


@pytest.fixture(scope="module")
def shop(module_folder: Path, start_shared_stack: StartStack) -> Iterator[Shop]:
    root = module_folder
    with running_dbt_cloud(write_project(root / "repository"), root / "cloud") as cloud:
        folders = TenantFolders(root, **cloud.settings("SHOP__"))
        folders.write("shop", {"tenant.yaml": TENANT}, as_it_is=True)
        environ = bare_environment(root, APOLLO_TENANTS_DIR=str(folders.tenants_dir), **folders.variables)
        yield Shop(start_shared_stack(environ, command=[*COMMAND, "--no-build"]).wait_until_ready(), cloud)


def test_a_run_of_dbt_clouds_own_appears_by_the_sensor(shop: Shop) -> None:
    shop.cloud.run()

    wait_until(lambda: shop.latest("shop/order_count").get("status") == "success", "the sensor has recorded the run")
    checks = shop.stack.webserver.assets("shop")["shop/stg_orders"]["assetChecksOrError"]["checks"]
    assert {check["name"]: check["executionForLatestMaterialization"]["status"] for check in checks} == {
        "not_null_stg_orders_id": "SUCCEEDED",
        "unique_stg_orders_id": "SUCCEEDED",
    }
    assert shop.stack.webserver.runs() == []


def test_dagster_materializes_in_dbt_cloud(shop: Shop) -> None:
    webserver = shop.stack.webserver
    run = webserver.materialize("shop", ASSETS)
    webserver.finish(run)

    assert webserver.built(run) == set(ASSETS)
    assert shop.latest("shop/order_count")["runId"] == run


def test_one_of_dbt_clouds_jobs_is_triggered_by_hand_and_recorded(shop: Shop) -> None:
    webserver = shop.stack.webserver
    run = webserver.launch("shop", "dbt_cloud_job_trigger")
    webserver.finish(run)
    there = shop.builds()[-1]

    assert there["job_id"] == shop.cloud.jobs()["Daily build"]
    assert run in there["trigger"]["cause"]
    recorded = shop.cloud.client().get_run_results_json(there["id"])["metadata"]["invocation_id"]
    wait_until(lambda: shop.latest("shop/lonely").get("invocation_id") == recorded, "the sensor has recorded it")


def test_cancelling_a_run_cancels_the_one_in_dbt_cloud(shop: Shop) -> None:
    webserver = shop.stack.webserver
    before = len(shop.builds())
    shop.cloud.be(step_seconds=600)
    run = webserver.materialize("shop", ["shop/lonely"])
    wait_until(lambda: [entry["status"] for entry in shop.builds()[before:]] == [3], "it runs in dbt Cloud")
    webserver.ask(_TERMINATE, id=run)
    ended = webserver.wait_for_run(run)
    shop.cloud.be()

    assert ended["status"] == "CANCELED"
    assert shop.cloud.ended(shop.builds()[-1]["id"])["status_humanized"] == "Cancelled"


def test_a_location_that_is_reloaded_while_dbt_cloud_is_away_comes_up_as_it_was(shop: Shop) -> None:
    webserver = shop.stack.webserver
    known = set(webserver.assets("shop"))
    shop.cloud.be(status=503)
    time.sleep(FRESH_SECONDS)  # until then what was heard last is taken
    webserver.ask(_RELOAD)

    assert webserver.locations() == {"shop": None}
    assert set(webserver.assets("shop")) == known
    assert "the last known state, of" in shop.stack.logs
    run = webserver.materialize("shop", ["shop/lonely"])
    ended = webserver.wait_for_run(run)
    shop.cloud.be()

    assert ended["status"] == "FAILURE"
    assert "dbt Cloud: answered 503" in webserver.failure(run)
    assert shop.cloud.token not in shop.stack.logs
