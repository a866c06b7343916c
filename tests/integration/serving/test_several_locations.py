"""One tenant served by several code locations: by the code host, as one user in one folder, with the edges between.

The definitions are cut by their groups (`test_shares.py`); here webserver, daemon and code host serve the parts.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.postgres import Postgres
from tests.support.roles import Roles, roles_of
from tests.support.tenants import write_tenant

pytestmark = pytest.mark.slow

LOCATIONS = ("alpha__ingestion", "alpha__dbt", "alpha__downstream")
TENANT_YAML = """\
warehouse: duckdb
code_locations: [ingestion, dbt, downstream]
schedule: {cron: "0 3 * * *"}
"""
PYTHON = """\
import dagster as dg


@dg.asset(key_prefix="alpha", group_name="ingestion")
def loaded() -> int:
    return 4


@dg.asset(key_prefix="alpha", group_name="downstream", ins={"loaded": dg.AssetIn(["alpha", "loaded"])},
          deps=[["alpha", "first"]])
def counted(loaded: int) -> int:
    return loaded + 1


defs = dg.Definitions(assets=[loaded, counted])
"""
PROJECT = """\
name: alpha
profile: tiny
models: {alpha: {+meta: {dagster: {group: dbt}}}}
"""


@pytest.fixture(scope="module")
def roles(module_folder: Path, postgres: Postgres) -> Iterator[Roles]:
    with roles_of(module_folder, postgres) as made:
        files = {
            "dbt_project.yml": PROJECT,
            "first.sql": "select 1 as id",
            "first.yml": "models: [{name: first, columns: [{name: id, data_tests: [unique]}]}]",
            "definitions.py": PYTHON,
        }
        write_tenant(made.tenants_dir, "alpha", files, TENANT_YAML)
        write_tenant(made.tenants_dir, "beta", {"first.sql": "select 1 as id"})
        incomplete = "warehouse: duckdb\ncode_locations: [ingestion, downstream]\n"
        theirs = {path: text.replace("alpha", "gamma") for path, text in files.items()}
        write_tenant(made.tenants_dir, "gamma", theirs, incomplete)
        yield made.start_all()


def test_each_group_is_a_location_that_serves_its_own(roles: Roles) -> None:
    served = {name: {key for key, node in roles.webserver.assets(name).items() if node["isMaterializable"]}
              for name in LOCATIONS}  # fmt: skip

    assert served == {
        "alpha__ingestion": {"alpha/loaded"},
        "alpha__dbt": {"alpha/first"},
        "alpha__downstream": {"alpha/counted"},
    }
    assert roles.status()["locations"]["alpha__dbt"] == {"loaded": True, "error": None}
    assert "alpha" not in roles.status()["locations"]


def test_the_graph_of_all_locations_has_the_edges_between_them(roles: Roles) -> None:
    query = '{ assetNodes(assetKeys: [{path: ["alpha", "counted"]}]) { dependencyKeys { path } } }'
    [node] = roles.webserver.ask(query)["assetNodes"]

    assert sorted(key["path"][-1] for key in node["dependencyKeys"]) == ["first", "loaded"]


def test_each_location_builds_its_part_and_reads_what_another_built(roles: Roles) -> None:
    for location, key in zip(LOCATIONS, ("alpha/loaded", "alpha/first", "alpha/counted"), strict=True):
        run_id = roles.webserver.materialize(location, [key])
        roles.webserver.finish(run_id)
        assert roles.webserver.built(run_id) == {key}


def test_the_schedule_is_with_the_models_that_it_builds(roles: Roles) -> None:
    query = """query($s: RepositorySelector!) { schedulesOrError(repositorySelector: $s) {
        ... on Schedules { results { name } } } }"""
    found = {}
    for name in LOCATIONS:
        selector = {"repositoryLocationName": name, "repositoryName": "__repository__"}
        answer = roles.webserver.ask(query, s=selector)["schedulesOrError"]
        found[name] = [entry["name"] for entry in answer["results"]]

    assert found == {"alpha__ingestion": [], "alpha__dbt": ["alpha__build_schedule"], "alpha__downstream": []}


def test_who_sees_one_tenant_sees_all_of_its_locations_and_no_other(roles: Roles) -> None:
    _, text = roles.get("/status", token="alpha")

    assert set(json.loads(text)["locations"]) == set(LOCATIONS)
    assert "beta" not in text
    assert "gamma" not in text


def test_a_group_that_no_location_names_fails_the_tenants_locations_and_is_named(roles: Roles) -> None:
    errors = {name: entry["error"] for name, entry in roles.status()["locations"].items() if "gamma" in name}

    assert set(errors) == {"gamma__ingestion", "gamma__downstream"}
    assert all("code_locations: no location serves the group dbt (gamma/first)" in error for error in errors.values())


def test_one_that_a_person_shuts_down_is_woken_again_and_the_others_stay(roles: Roles) -> None:
    before = {name: roles.tenant_process(name).pid for name in LOCATIONS}
    mutation = """mutation($x: String!) { shutdownRepositoryLocation(repositoryLocationName: $x) { __typename } }"""
    roles.webserver.ask(mutation, x="alpha__dbt")

    roles.wait_until(lambda: not Path(f"/proc/{before['alpha__dbt']}").exists(), "it has ended")
    assert roles.tenant_process("alpha__dbt").pid != before["alpha__dbt"]
    assert {name: roles.tenant_process(name).pid for name in (LOCATIONS[0], LOCATIONS[2])} == {
        name: before[name] for name in (LOCATIONS[0], LOCATIONS[2])
    }


def test_when_one_is_killed_the_others_stay_and_it_is_woken_again(roles: Roles) -> None:
    before = {name: roles.tenant_process(name).pid for name in (*LOCATIONS, "beta")}
    os.kill(before["alpha__ingestion"], signal.SIGKILL)

    roles.wait_until(lambda: "alpha__ingestion: its process ended with -9" in roles.said("code"), "it is heard of")
    for name in ("alpha__dbt", "alpha__downstream", "beta"):
        assert roles.tenant_process(name).pid == before[name]
    roles.webserver.finish(roles.webserver.materialize("alpha__ingestion", ["alpha/loaded"]))


def test_sigterm_drains_every_location(roles: Roles) -> None:
    served = [roles.tenant_process(name) for name in LOCATIONS]

    assert roles.stop("code") == 0
    # A zombie has ended, and waits for whoever inherited it from the code host.
    lives = [process for process in served if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert lives == []
    assert "still at work" not in roles.said("code")
