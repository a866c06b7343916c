"""`make dev` on a machine that has nothing: what a person finds after it, and what is left after Ctrl-C."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from dagster_apollo.execution.docker_runner import RUN_LABEL
from tests.support.browser import PAGE_TIMEOUT_SECONDS
from tests.support.container_engine import ContainerEngine
from tests.support.stack import COMMAND, Stack, StartStack, bare_environment, run_to_its_end
from tests.support.tenants import write_tenant

TENANT, IN_CONTAINERS = "dbt_williamgrant", "riksdag"
# Of each tenant an asset at its end, and a group of the global graph.
BUILT = {
    TENANT: (f"{TENANT}/marts/mart_stock_cover", "commercial"),
    "bioreactor": ("bioreactor/mart/mart_batches", "dbt_marts"),
    "kaizen_wars": ("kaizen_wars/fact_virtual_count_asset", "downstream"),
    "makerates": ("makerates/dynamodb/rates", "dynamodb"),
}
# A group of each that no other tenant has; one that is not built is shown too.
GROUPS = {**{tenant: group for tenant, (_, group) in BUILT.items()}, IN_CONTAINERS: "marts"}
READY_TIMEOUT_SECONDS = 800.0
# A machine without a container engine, whatever this one has.
NO_ENGINE = "unix:///nonexistent/docker.sock"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def bare(folder: Path, **more: str) -> dict[str, str]:
    """Nothing but what PyPI brings, and the system's Postgres where there is one."""
    folder.chmod(0o711)  # root's Postgres is another user's
    return bare_environment(folder, DOCKER_HOST=NO_ENGINE, **more)


@pytest.fixture(scope="module")
def fresh(module_folder: Path, start_shared_stack: StartStack) -> Stack:
    """All tenants that ship, served with no setting at all."""
    # `make` itself, as a person types it: the signal reaches make, bash and Python alike.
    stack = start_shared_stack(bare(module_folder), command=("make", "dev"))
    return stack.wait_until_ready(READY_TIMEOUT_SECONDS)


@pytest.mark.parametrize(("tenant", "last"), [(tenant, last) for tenant, (last, _) in BUILT.items()])
def test_every_asset_is_built_and_every_check_passed(fresh: Stack, tenant: str, last: str) -> None:
    assets = fresh.webserver.assets(tenant)
    buildable = {key: node for key, node in assets.items() if node["isMaterializable"]}
    assert last in buildable
    assert [key for key, node in buildable.items() if not node["assetMaterializations"]] == []
    outcomes = {
        f"{key}:{check['name']}": (check["executionForLatestMaterialization"] or {}).get("status")
        for key, node in assets.items()
        for check in node["assetChecksOrError"].get("checks", [])
    }
    assert outcomes
    assert {name: status for name, status in outcomes.items() if status != "SUCCEEDED"} == {}


@pytest.mark.parametrize(
    "said",
    [
        "dbt_williamgrant: DBT_TARGET is `local`: DuckDB stands in for Snowflake",
        "bioreactor: POSTGRES_URL is not set: a Postgres of this machine (",
        "makerates: AWS_ENDPOINT_URL_S3 is not set: moto, which checks no key (`make test-parts` brings a real server)",
        "makerates: AWS_ENDPOINT_URL_DYNAMODB is not set: moto, which checks no key, stands in",
        "kaizen_wars: DBT_CLOUD_TOKEN is not set: a fake of dbt Cloud's API",
    ],
)
def test_it_says_what_stands_in_for_what(fresh: Stack, said: str) -> None:
    assert said in fresh.said


def test_without_a_container_engine_a_tenant_that_needs_it_is_served_and_offered_another_way(fresh: Stack) -> None:
    assert f"{IN_CONTAINERS}: runs in containers, and is not built here\n" in fresh.said
    assert f"{NO_ENGINE}: the container engine does not answer" in fresh.said
    assert "RIKSDAG__APOLLO_EXECUTION=process" in fresh.said
    assert fresh.webserver.locations()[IN_CONTAINERS] is None
    assert not any(node["assetMaterializations"] for node in fresh.webserver.assets(IN_CONTAINERS).values())


def test_a_command_beside_it_reaches_what_stands_in(fresh: Stack) -> None:
    command = [COMMAND[0], "dbt", "bioreactor", "--", "test", "--select", "tag:mart"]
    code, said = run_to_its_end(command, {name: fresh.environ[name] for name in fresh.environ if name != "PORT"})
    assert code == 0, said
    assert "Completed successfully" in said


def test_a_materialization_says_what_was_built_how_and_how_long_it_took(fresh: Stack) -> None:
    [materialization] = fresh.webserver.assets(TENANT)[f"{TENANT}/marts/mart_stock_cover"]["assetMaterializations"]
    metadata = {entry["label"]: entry for entry in materialization["metadataEntries"]}
    assert metadata["relation"]["text"] == '"dbt_williamgrant"."marts"."mart_stock_cover"'
    assert '"dbt_williamgrant"."marts"."fct_distributor_stock"' in metadata["compiled_sql"]["mdStr"]
    assert "{{" not in metadata["compiled_sql"]["mdStr"]
    assert metadata["Execution Duration"]["floatValue"] > 0


def test_a_browser_shows_one_graph_of_all_tenants(fresh: Stack, page: Page, tmp_path: Path) -> None:
    shown = {tenant: {node["groupName"] for node in fresh.webserver.assets(tenant).values()} for tenant in GROUPS}
    for tenant, group in GROUPS.items():
        assert [name for name, groups in shown.items() if group in groups] == [tenant]
    try:
        page.goto(f"{fresh.address}/asset-groups")
        for group in GROUPS.values():
            expect(page.get_by_text(group, exact=True).first).to_be_visible(timeout=PAGE_TIMEOUT_SECONDS * 1000)
        page.goto(f"{fresh.address}/locations/{TENANT}/asset-groups/commercial")
        expect(page.get_by_text("mart_stock_cover", exact=True).first).to_be_visible(
            timeout=PAGE_TIMEOUT_SECONDS * 1000
        )
    finally:
        page.screenshot(path=tmp_path / "asset-groups.png")


def test_only_this_machine_can_reach_it(fresh: Stack) -> None:
    listening = {
        connection.laddr.ip
        for process in fresh.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    # gRPC listens at the same address by a socket of both families.
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_a_second_one_says_who_holds_the_port_and_what_to_do(fresh: Stack, folder: Path) -> None:
    code, said = run_to_its_end(COMMAND, bare(folder, PORT=fresh.environ["PORT"]))
    assert code == 1
    holders = [process.pid for process in fresh.processes() if f"process {process.pid} " in said]
    assert len(holders) == 1, said
    assert "apollo webserver" in said
    assert "choose another port: `PORT=" in said
    assert "Traceback" not in said


def test_ctrl_c_stops_make_and_the_next_start_builds_nothing_again(
    fresh: Stack, module_folder: Path, start_shared_stack: StartStack
) -> None:
    known = {tenant: sum(map(bool, _buildable(fresh, tenant))) for tenant in BUILT}
    # GNU make dies of the interrupt that its recipe handled; a shell shows 130.
    assert fresh.stop(signal.SIGINT) == -signal.SIGINT
    assert fresh.said.splitlines()[-1] == "stopped"
    fresh.assert_nothing_is_left()
    # What was offered to those who have no container engine.
    again = start_shared_stack(bare(module_folder, RIKSDAG__APOLLO_EXECUTION="process"))
    again.wait_until_ready(READY_TIMEOUT_SECONDS)
    for tenant, count in known.items():
        assert f"{tenant}: manifest is current" in again.said
        assert f"{tenant}: everything of {count} assets was built before" in again.said
    assert f"{IN_CONTAINERS}: built; " in again.said
    assert all(_buildable(again, IN_CONTAINERS))
    assert again.stop(signal.SIGINT) == 0
    again.assert_nothing_is_left()


def _buildable(stack: Stack, tenant: str) -> list[bool]:
    """Whether it was built, of each asset that can be."""
    nodes = stack.webserver.assets(tenant).values()
    return [bool(node["assetMaterializations"]) for node in nodes if node["isMaterializable"]]


def test_where_there_is_a_container_engine_the_image_is_built_and_used(
    folder: Path, container_engine: ContainerEngine, start_stack: StartStack
) -> None:
    environ = {
        **bare_environment(folder, TENANTS=IN_CONTAINERS),
        **container_engine.environ,
        "HOME": str(folder / "user"),
    }
    stack = start_stack(environ).wait_until_ready(READY_TIMEOUT_SECONDS)
    assert all(_buildable(stack, IN_CONTAINERS))
    assert f"{IN_CONTAINERS}: built; " in stack.said
    [run] = stack.webserver.runs()
    assert run["status"] == "SUCCESS"
    said = [event.get("message") or "" for event in stack.webserver.events(run["runId"])]
    assert any(line.endswith("in a container of transformations_dbt:latest") for line in said)
    assert stack.stop() == 0
    label = f"label={RUN_LABEL}={run['runId']}"
    assert container_engine.docker("ps", "--all", "--quiet", "--filter", label) == ""


def test_a_tenant_that_is_not_there_is_refused_by_name(folder: Path) -> None:
    write_tenant(folder / "tenants", "one", {"first.sql": "select 1 as id"})
    environ = bare_environment(folder, APOLLO_TENANTS_DIR=str(folder / "tenants"), TENANTS="nope")
    code, said = run_to_its_end(COMMAND, environ)
    assert code == 1
    assert "nope" in said
    assert "one" in said
    assert "Traceback" not in said
