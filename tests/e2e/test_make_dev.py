"""`make dev` on a machine that has nothing: what a person finds after it, and what is left after Ctrl-C."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.support.stack import COMMAND, Stack, StartStack, bare_environment, run_to_its_end
from tests.support.tenants import write_tenant

TENANT = "dbt_williamgrant"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fresh(module_folder: Path, start_shared_stack: StartStack) -> Stack:
    """The tenant that ships, served with no setting at all."""
    environ = bare_environment(module_folder, TENANTS=TENANT)
    # `make` itself, as a person types it: the signal reaches make, bash and Python alike.
    return start_shared_stack(environ, command=("make", "dev")).wait_until_ready()


def test_every_asset_is_built_and_every_check_passed(fresh: Stack) -> None:
    assets = fresh.webserver.assets(TENANT)
    buildable = {key: node for key, node in assets.items() if node["isMaterializable"]}
    assert f"{TENANT}/marts/mart_stock_cover" in buildable
    assert [key for key, node in buildable.items() if not node["assetMaterializations"]] == []
    outcomes = {
        f"{key}:{check['name']}": (check["executionForLatestMaterialization"] or {}).get("status")
        for key, node in assets.items()
        for check in node["assetChecksOrError"].get("checks", [])
    }
    assert len(outcomes) > 100
    assert {name: status for name, status in outcomes.items() if status != "SUCCEEDED"} == {}


def test_a_materialization_says_what_was_built_how_and_how_long_it_took(fresh: Stack) -> None:
    [materialization] = fresh.webserver.assets(TENANT)[f"{TENANT}/marts/mart_stock_cover"]["assetMaterializations"]
    metadata = {entry["label"]: entry for entry in materialization["metadataEntries"]}
    assert metadata["relation"]["text"] == '"dbt_williamgrant"."marts"."mart_stock_cover"'
    assert '"dbt_williamgrant"."marts"."fct_distributor_stock"' in metadata["compiled_sql"]["mdStr"]
    assert "{{" not in metadata["compiled_sql"]["mdStr"]
    assert metadata["Execution Duration"]["floatValue"] > 0


def test_a_browser_shows_the_graph_of_the_tenant(fresh: Stack, page: Page, tmp_path: Path) -> None:
    try:
        page.goto(f"{fresh.address}/asset-groups")
        for group in ("seeds", "data_platform", "commercial", "maturation"):
            expect(page.get_by_text(group, exact=True).first).to_be_visible()
        page.goto(f"{fresh.address}/locations/{TENANT}/asset-groups/commercial")
        expect(page.get_by_text("mart_stock_cover", exact=True).first).to_be_visible()
    finally:
        page.screenshot(path=tmp_path / "asset-groups.png")


def test_only_this_machine_can_reach_it(fresh: Stack) -> None:
    listening = {
        connection.laddr.ip
        for process in fresh.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_a_second_one_says_who_holds_the_port_and_what_to_do(fresh: Stack, folder: Path) -> None:
    code, said = run_to_its_end(COMMAND, bare_environment(folder, PORT=fresh.environ["PORT"]))
    assert code == 1
    holders = [process.pid for process in fresh.processes() if f"process {process.pid} " in said]
    assert len(holders) == 1, said
    assert "apollo webserver" in said
    assert "choose another port: `PORT=" in said
    assert "Traceback" not in said


def test_ctrl_c_stops_make_and_the_next_start_builds_nothing_again(
    fresh: Stack, module_folder: Path, start_shared_stack: StartStack
) -> None:
    runs = len(fresh.webserver.runs())
    # GNU make dies of the interrupt that its recipe handled; a shell shows 130.
    assert fresh.stop(signal.SIGINT) == -signal.SIGINT
    assert fresh.said.splitlines()[-1] == "stopped"
    fresh.assert_nothing_is_left()
    again = start_shared_stack(bare_environment(module_folder, TENANTS=TENANT)).wait_until_ready()
    assert f"{TENANT}: manifest is current" in again.said
    assert f"{TENANT}: everything of 56 assets was built before" in again.said
    assert len(again.webserver.runs()) == runs
    assert again.stop(signal.SIGINT) == 0


def test_a_tenant_that_is_not_there_is_refused_by_name(folder: Path) -> None:
    write_tenant(folder / "tenants", "one", {"first.sql": "select 1 as id"})
    environ = bare_environment(folder, APOLLO_TENANTS_DIR=str(folder / "tenants"), TENANTS="nope")
    code, said = run_to_its_end(COMMAND, environ)
    assert code == 1
    assert "nope" in said
    assert "one" in said
    assert "Traceback" not in said
