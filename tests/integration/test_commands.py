"""A tenant's own programs as steps: what they report, print and get wrong, as Dagster shows it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from tests.support.tenant_folders import TenantFolders, evaluated, failures, materialized

DEFINITIONS = """
import dagster as dg
from dagster_apollo.commands import TenantCommands

KEY = dg.AssetKey(["acme", "counted"])

@dg.asset(key=KEY, check_specs=[dg.AssetCheckSpec("is_even", asset=KEY)] if CHECKED else [])
def counted(context: dg.AssetExecutionContext, commands: dg.ResourceParam[TenantCommands]):
    yield from commands.run(context, ["python", "count.py", "4"])

defs = dg.Definitions(assets=[counted])
"""
REPORTS = """
import os, sys
from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    print("counting", os.environ["WHAT"])
    print("{not json")
    pipes.report_asset_check(check_name="is_even", passed=int(sys.argv[1]) % 2 == 0)
    pipes.report_asset_materialization(metadata={"count": int(sys.argv[1]), "folder": os.getcwd()})
"""


@pytest.fixture
def folders(tmp_path: Path) -> TenantFolders:
    return TenantFolders(tmp_path)


def run(folders: TenantFolders, program: str, checked: bool = False, **settings: str) -> dg.ExecuteInProcessResult:
    definitions = DEFINITIONS.replace("CHECKED", str(checked))
    folders.write("acme", {"definitions.py": definitions, "count.py": program, "models/one.sql": "select 1 as id"})
    with dg.DagsterInstance.ephemeral() as instance:
        job = folders.load("acme", **settings).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=instance, raise_on_error=False, asset_selection=[dg.AssetKey(["acme", "counted"])]
        )


def test_what_a_program_reports_is_what_dagster_holds_of_it(folders: TenantFolders) -> None:
    result = run(folders, REPORTS, checked=True, ACME__WHAT="sheep")
    assert result.success, failures(result)
    assert evaluated(result) == {"counted:is_even": True}
    [event] = result.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    assert metadata["count"].value == 4
    assert metadata["folder"].value == str(folders.tenants_dir / "acme")


def test_what_it_prints_beside_its_reports_is_the_output_of_the_step(
    folders: TenantFolders, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(folders, REPORTS, checked=True, ACME__WHAT="sheep").success
    printed = capfd.readouterr().out
    assert "counting sheep\n{not json\n" in printed
    assert "report_asset_materialization" not in printed


def test_a_program_that_reports_nothing_has_made_its_asset_when_it_ends_well(folders: TenantFolders) -> None:
    result = run(folders, "print('done')")
    assert result.success, failures(result)
    assert materialized(result) == {"counted"}


def test_a_program_that_ends_badly_fails_the_step_with_the_last_line_that_it_printed(folders: TenantFolders) -> None:
    result = run(folders, "import sys\nprint('about to')\nsys.exit('stock.csv: there is no such file.')")
    assert not result.success
    assert failures(result).startswith("python count.py 4: stock.csv: there is no such file. See the step's output.")


def test_a_program_that_dies_without_a_word_fails_the_step_with_its_exit_code(folders: TenantFolders) -> None:
    assert "it ended with exit code 3" in failures(run(folders, "import os\nos._exit(3)"))


def test_it_is_given_the_secrets_of_its_tenant_and_nothing_of_another(folders: TenantFolders) -> None:
    program = "import os\nassert os.environ['API_TOKEN'] == 'mine'\nassert 'theirs' not in str(dict(os.environ))"
    result = run(folders, program, ACME__API_TOKEN="mine", OTHER__API_TOKEN="theirs")
    assert result.success, failures(result)
