"""A tenant with several code locations is one tenant to its users: they see and operate all of them, others none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dagster._core.workspace.load_target import PythonFileTarget, WorkspaceLoadTarget

from tests.support.scoped_world import World, new_instance, selector, serving

PARTS = {"alpaca__load": "LOAD", "alpaca__count": "COUNT", "alpaca_": "NEIGHBOUR", "zebra": "OTHER"}
PROGRAM = """
import dagster as dg


def of(tenant, name, deps=()):
    @dg.asset(key=[tenant, name], deps=[[tenant, dep] for dep in deps])
    def made(context): ...

    @dg.sensor(name=f"{name}_sensor", target=dg.AssetSelection.assets([tenant, name]))
    def watch(): ...

    return dg.Definitions(assets=[made], sensors=[watch], executor=dg.in_process_executor)


LOAD = of("alpaca", "loaded")
COUNT = of("alpaca", "counted", ["loaded"])
NEIGHBOUR = of("alpaca_", "near")
OTHER = of("zebra", "striped")
"""
OPERATORS = ("operator-of-alpaca", "confined-operator")


@dataclass(frozen=True)
class _Locations(WorkspaceLoadTarget):
    file: Path

    def create_origins(self) -> list[Any]:
        return [
            origin
            for name, attribute in PARTS.items()
            for origin in PythonFileTarget(
                python_file=str(self.file), attribute=attribute, working_directory=None, location_name=name
            ).create_origins()
        ]


@pytest.fixture(scope="module")
def world(module_folder: Path) -> Iterator[World]:
    file = module_folder / "definitions.py"
    file.write_text(PROGRAM)
    home = module_folder / "home"
    home.mkdir()
    with new_instance(home) as instance, serving(instance, _Locations(file)) as served:
        yield served


def launch(world: World, user: str, location: str, key: list[str]) -> dict[str, Any]:
    query = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
        ... on LaunchRunSuccess { run { runId } } } }"""
    wanted = selector(location, jobName="__ASSET_JOB", assetSelection=[{"path": key}])
    answer = world.ask(user, query, p={"selector": wanted, "mode": "default", "runConfigData": "{}"})
    found: dict[str, Any] = (answer.get("data") or {}).get("launchRun") or answer
    return found


def names(world: World, user: str) -> set[str]:
    query = "{ workspaceOrError { ... on Workspace { locationEntries { name } } } }"
    entries = world.ask(user, query)["data"]["workspaceOrError"]["locationEntries"]
    return {entry["name"] for entry in entries}


def test_who_is_confined_to_a_tenant_sees_all_of_its_locations_and_none_of_anothers(world: World) -> None:
    assert names(world, "confined-viewer") == {"alpaca__load", "alpaca__count"}
    assert names(world, "administrator") == set(PARTS)


def test_the_assets_of_all_locations_and_their_edges_are_seen(world: World) -> None:
    nodes = world.ask("confined-viewer", "{ assetNodes { assetKey { path } dependencyKeys { path } } }")
    found = {"/".join(n["assetKey"]["path"]): n["dependencyKeys"] for n in nodes["data"]["assetNodes"]}

    assert set(found) == {"alpaca/loaded", "alpaca/counted"}
    assert found["alpaca/counted"] == [{"path": ["alpaca", "loaded"]}]


@pytest.mark.parametrize("user", OPERATORS)
def test_an_operator_of_the_tenant_launches_in_each_of_its_locations(world: World, user: str) -> None:
    for location, key in (("alpaca__load", "loaded"), ("alpaca__count", "counted")):
        assert launch(world, user, location, ["alpaca", key])["__typename"] == "LaunchRunSuccess"


@pytest.mark.parametrize("user", [*OPERATORS, "viewer", "confined-viewer"])
def test_and_in_no_other_nor_does_a_viewer_in_his_own(world: World, user: str) -> None:
    wanted = [("zebra", ["zebra", "striped"]), ("alpaca_", ["alpaca_", "near"])]
    wanted += [("alpaca__load", ["alpaca", "loaded"])] if "viewer" in user else []
    for location, key in wanted:
        assert launch(world, user, location, key).get("__typename") != "LaunchRunSuccess", location


def test_runs_of_every_location_are_seen_by_who_sees_the_tenant(world: World) -> None:
    wanted = (("alpaca__load", ["alpaca", "loaded"]), ("alpaca__count", ["alpaca", "counted"]))
    made = {launch(world, "administrator", location, key)["run"]["runId"] for location, key in wanted}
    hidden = {launch(world, "administrator", "alpaca_", ["alpaca_", "near"])["run"]["runId"]}

    query = "{ runsOrError { ... on Runs { results { runId } } } }"
    seen = {run["runId"] for run in world.ask("confined-viewer", query)["data"]["runsOrError"]["results"]}

    assert made <= seen
    assert not hidden & seen


def test_a_sensor_is_started_in_ones_own_location_alone(world: World) -> None:
    query = """mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }"""

    def start(location: str, name: str) -> str:
        wanted = selector(location, sensorName=name)
        answer = world.ask("confined-operator", query, s=wanted)
        return str(((answer.get("data") or {}).get("startSensor") or {}).get("__typename"))

    assert start("alpaca__count", "counted_sensor") == "Sensor"
    assert start("alpaca_", "near_sensor") != "Sensor"
    assert start("zebra", "striped_sensor") != "Sensor"


def test_a_location_of_his_is_reloaded_by_an_operator(world: World) -> None:
    query = "mutation($x: String!) { reloadRepositoryLocation(repositoryLocationName: $x) { __typename } }"

    def reload(location: str) -> str:
        answer = world.ask("confined-operator", query, x=location)
        return str(((answer.get("data") or {}).get("reloadRepositoryLocation") or {}).get("__typename"))

    assert reload("alpaca__load") == "WorkspaceLocationEntry"
    assert reload("alpaca_") != "WorkspaceLocationEntry"


def test_the_audit_names_the_tenant_and_not_its_location(world: World) -> None:
    before = len(world.audited)
    launch(world, "confined-operator", "alpaca__load", ["alpaca", "loaded"])

    assert [line["tenants"] for line in world.audited[before:]] == [["alpaca"]]
