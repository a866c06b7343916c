"""A run that is forked from a warm tenant tells what a stock run tells, event by event.

The project has every materialization and everything that can become of a node. Stock is, once, the same definitions in
the process that `dagster api execute_run` is, with a dbt that is a program; and once dagster-dbt's own `@dbt_assets` of
the same manifest, translated alike, in that process.
"""

from __future__ import annotations

import runpy
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEventType as Type

from dagster_apollo.dbt.preparation import SLIM_FILE
from dagster_apollo.dbt.workspace import Places, open_workspace, repository_root
from dagster_apollo.execution.process import dbt_executable
from tests.support import every_materialization as project
from tests.support.dagster_origins import created_run, run_by_stock_process
from tests.support.recorded_events import Told, told
from tests.support.tenant_folders import TenantFolders
from tests.support.warm_tenant import WarmTenant

JOB = f"{project.TENANT}__build"
# Builds one after the other in one database: all of the project, all of it again, and what of it ends well.
BUILDS = {"all": (), "again": (), "some": tuple(f"{project.TENANT}/{name}" for name in project.WELL)}
# What we add to dagster-dbt's metadata: dbt/stream.py.
OURS = {"rows_affected", "dagster/row_count", "relation", "compiled_sql"}
OF_ASSETS = {
    Type.ASSET_MATERIALIZATION_PLANNED,
    Type.ASSET_CHECK_EVALUATION_PLANNED,
    Type.ASSET_MATERIALIZATION,
    Type.ASSET_OBSERVATION,
    Type.ASSET_CHECK_EVALUATION,
}
STOCK = """\
import json
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

from dagster_apollo.dbt.translation import TenantTranslator

manifest = json.loads(Path({manifest!r}).read_text())


@dbt_assets(manifest=manifest, name={op!r}, dagster_dbt_translator=TenantTranslator({tenant!r}, manifest))
def build(context: dg.AssetExecutionContext, dbt: DbtCliResource):
    yield from dbt.cli(["build"], context=context).stream()


defs = dg.Definitions(
    assets=[build],
    jobs=[dg.define_asset_job({job!r}, selection=dg.AssetSelection.assets(build))],
    resources={{"dbt": DbtCliResource(project_dir={project_dir!r}, dbt_executable={dbt!r})}},
    executor=dg.in_process_executor,
)
"""


@dataclass(frozen=True)
class Recorded:
    """One way's instance, and its runs by the name of the build."""

    instance: dg.DagsterInstance
    runs: dict[str, str]

    def told(self, build: str, **chosen: object) -> Counter[Told]:
        return told(self.instance, self.runs[build], **chosen)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Ways:
    """The same builds in three ways."""

    warm: Recorded
    process: Recorded
    dagster_dbt: Recorded


@pytest.fixture(scope="module")
def ways(module_folder: Path) -> Iterator[Ways]:
    folders = TenantFolders(module_folder)
    folders.write(project.TENANT, project.FILES)
    definitions = folders.load(project.TENANT)
    environ = folders.of_tenant(project.TENANT)
    workspace = open_workspace(environ, Places.find(environ, repository_root()), project.TENANT)
    stock = module_folder / "stock_definitions.py"
    text = STOCK.format(
        manifest=str(workspace.prepared_dir / SLIM_FILE),
        tenant=project.TENANT,
        job=JOB,
        op=f"{project.TENANT}__dbt_build",
        project_dir=str(workspace.tenant.project_dir),
        dbt=str(dbt_executable()),
    )
    stock.write_text(text)
    stock_definitions: dg.Definitions = runpy.run_path(str(stock))["defs"]
    database = folders.state_dir / "warehouse" / "local" / f"{project.TENANT}.duckdb"
    for_dbt = {
        name: value
        for name, value in workspace.environment(module_folder, events=False).items()
        if name not in ("DBT_TARGET_PATH", "DBT_LOG_PATH", "DAGSTER_DBT_CLI")
    }

    with ExitStack() as stack:

        def recorded(way: str) -> Recorded:
            database.unlink(missing_ok=True)
            (module_folder / way).mkdir()
            silent = {"telemetry": {"enabled": False}}
            instance = stack.enter_context(dg.DagsterInstance.local_temp(str(module_folder / way), overrides=silent))
            runs = {}
            for name, assets in BUILDS.items():
                if way == "dagster_dbt":
                    run = created_run(instance, stock_definitions, JOB, assets, stock)
                else:
                    run = created_run(instance, definitions, JOB, assets)
                runs[name] = run.run_id
                if way == "warm":
                    assert tenant.run(instance, run) == 0
                elif way == "process":
                    run_by_stock_process(instance, run, environ)
                else:
                    run_by_stock_process(instance, run, {**environ, **for_dbt})
            return Recorded(instance, runs)

        with WarmTenant(environ, module_folder / "warm.log") as tenant:
            warm = recorded("warm")
        yield Ways(warm, recorded("process"), recorded("dagster_dbt"))


@pytest.mark.parametrize("build", BUILDS)
def test_a_warm_run_tells_all_that_a_stock_process_tells_of_the_same_definitions(ways: Ways, build: str) -> None:
    warm, stock = ways.warm.told(build), ways.process.told(build)

    assert sum(stock.values()) > 40
    assert warm - stock == Counter()
    assert stock - warm == Counter()


@pytest.mark.parametrize("build", BUILDS)
def test_a_warm_run_tells_of_every_asset_and_check_what_dagster_dbt_tells(ways: Ways, build: str) -> None:
    warm = ways.warm.told(build, types=OF_ASSETS, without=OURS)
    stock = ways.dagster_dbt.told(build, types=OF_ASSETS)
    # dagster-dbt passes over what unit tests come to.
    for event in [event for event in warm if event[0] == "ASSET_CHECK_EVALUATION" and event[3] == project.UNIT_TEST]:
        del warm[event]

    assert sum(stock.values()) > 20
    assert warm - stock == Counter()
    assert stock - warm == Counter()


def test_all_that_can_become_of_a_node_has_become_of_one(ways: Ways) -> None:
    statuses = [ways.warm.instance.get_run_by_id(run).status for run in ways.warm.runs.values()]  # type: ignore[union-attr]
    assert statuses == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]

    checks = {event[2:6] for event in ways.warm.told("all", types={Type.ASSET_CHECK_EVALUATION})}
    assert ("mix/fails_its_test", "not_null_fails_its_test_v", False, "ERROR") in checks
    assert ("mix/warns", "not_null_warns_v", False, "WARN") in checks
    assert ("mix/tabled", "tabled_is_not_empty", True, "ERROR") in checks
    built = {event[2] for event in ways.warm.told("all", types={Type.ASSET_MATERIALIZATION})}
    assert {f"mix/{name}" for name in project.WELL} <= built
    assert not {"mix/fails", "mix/after_the_failed_model", "mix/after_the_failed_test"} & built
