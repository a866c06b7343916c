"""The tenant `dbt_williamgrant` on the local Snowflake, by the real dbt-snowflake with a real key pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import dagster as dg
import pytest
from typer.testing import CliRunner

from dagster_apollo.cli import commands as cli
from dagster_apollo.dbt.preparation import load_prepared, prepare
from dagster_apollo.dbt.workspace import Places, Workspace, open_workspace, repository_root
from dagster_apollo.definitions import tenant_definitions
from dagster_apollo.warehouse.connection import login
from dagster_apollo.warehouse.profiles import snowflake_key
from dagster_apollo.warehouse.rotation import new_key_pair
from tests.support.snowflake_account import Account, running_account

TENANT = "dbt_williamgrant"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    folder = tmp_path_factory.mktemp("snowflake")
    with running_account(folder) as made:
        more = {"DBT_THREADS": "4", "APOLLO_STATE_DIR": str(folder / "state")}
        yield replace(made, environ={**made.environ, **more})


def _opened(environ: Mapping[str, str]) -> tuple[Workspace, dg.Definitions]:
    import os

    whole = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environ}
    workspace = open_workspace(whole, Places.find(whole, repository_root()), TENANT)
    prepare(workspace)
    return workspace, tenant_definitions(workspace, load_prepared(workspace), whole)


def _run(
    definitions: dg.Definitions, variables: Mapping[str, str], selection: dg.AssetSelection | None = None
) -> dg.ExecuteInProcessResult:
    config = {"ops": {f"{TENANT}__dbt_build": {"config": {"vars": dict(variables)}}}}
    job = definitions.resolve_job_def(f"{TENANT}__build")
    graph = definitions.resolve_asset_graph()
    return job.execute_in_process(
        instance=dg.DagsterInstance.ephemeral(),
        run_config=config,
        raise_on_error=False,
        asset_selection=sorted(selection.resolve(graph)) if selection else None,
    )


def _failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    return str(event.event_specific_data.user_failure_data.description)


def _ask(workspace: Workspace, sql: str) -> int:
    """The first value that a statement returns."""
    key, _ = snowflake_key(workspace.tenant, workspace.values)
    assert key
    with login(workspace.values, key) as connection:
        return int(connection.cursor().execute(sql).fetchone()[0])


def _count(workspace: Workspace, table: str) -> int:
    return _ask(workspace, f"select count(*) from {table}")


def test_is_built_three_times_over_with_all_its_checks_passing(account: Account) -> None:
    workspace, definitions = _opened(account.environ)
    totals, appended = [], []
    for day in ("2026-03-31", "2026-05-31", "2026-07-15"):
        result = _run(definitions, {"as_of_date": day})
        assert result.success, _failure(result)
        materialized = result.get_asset_materialization_events()
        assert len(materialized) == 56
        assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
        assert len(result.get_asset_check_evaluations()) == 173
        [loaded] = [event for event in materialized if event.asset_key.path[-1] == "fct_cask_movements"]
        appended.append(loaded.step_materialization_data.materialization.metadata["rows_affected"].value)
        totals.append(_count(workspace, "marts.fct_cask_movements"))
    assert 0 < totals[0] < totals[1] < totals[2], "an appending model grows with the days"
    assert [totals[1] - totals[0], totals[2] - totals[1]] == appended[1:], "rows affected are the rows appended"


def test_one_asset_with_its_downstream_is_built_from_what_is_there_and_nothing_else_is(account: Account) -> None:
    workspace, definitions = _opened(account.environ)
    rows = _count(workspace, "marts.mart_angels_share")
    assert rows > 0, "the test above has built all"
    _ask(workspace, "delete from marts.mart_angels_share")
    chosen = dg.AssetSelection.assets([TENANT, "marts", "dim_casks"])

    result = _run(definitions, {"as_of_date": "2026-07-15"}, chosen.downstream())

    assert result.success, _failure(result)
    built = {event.asset_key for event in result.get_asset_materialization_events() if event.asset_key}
    downstream = {"dim_warehouses", "mart_angels_share", "mart_maturing_stock"}
    assert {key.path[-1] for key in built} == {"dim_casks", *downstream}
    evaluations = result.get_asset_check_evaluations()
    assert {evaluation.asset_key for evaluation in evaluations} == built, "the checks of what was built, and no others"
    assert all(evaluation.passed for evaluation in evaluations)
    assert _count(workspace, "marts.mart_angels_share") == rows


def test_another_key_is_refused_before_a_model_starts_and_the_error_says_who_asked(account: Account) -> None:
    other_file = account.folder / "other.p8"
    other = new_key_pair(other_file)
    _, definitions = _opened({**account.environ, "SNOWFLAKE_PRIVATE_KEY_PATH": str(other_file)})
    result = _run(definitions, {})
    assert not result.success
    assert result.get_asset_materialization_events() == []
    told = _failure(result)
    for expected in ("LOCALACCT", "APOLLO", "TRANSFORMER", other.fingerprint, "JWT token is invalid"):
        assert expected.lower() in told.lower()
    assert account.fingerprint not in told


def test_a_role_that_was_never_granted_is_named(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**account.environ, "SNOWFLAKE_ROLE": "NOBODY"}.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "role NOBODY" in result.output
    assert account.fingerprint in result.output


def test_the_doctor_finds_nothing_wrong_with_a_connection_that_works(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in account.environ.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert "connections: well" in result.output, result.output


def test_a_key_is_rotated_without_a_moment_in_which_none_works(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_file = account.folder / "rotated.p8"

    def rotate(**changed: str) -> str:
        for name, value in {**account.environ, **changed}.items():
            monkeypatch.setenv(name, value)
        result = CliRunner().invoke(
            cli.app, ["keys", "rotate", TENANT, "--new-key", str(new_file), "--execute"], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        return result.output

    filled = rotate()
    assert filled.count("done:") == 2, filled  # registered in the free slot, and its login verified
    assert "to do:" in filled  # the variable is a person's to switch
    switched = rotate(SNOWFLAKE_PRIVATE_KEY_PATH=str(new_file))
    assert "RSA_PUBLIC_KEY" in switched
    assert "done:" in switched  # the old slot is emptied
    assert "nothing is left to do" in rotate(SNOWFLAKE_PRIVATE_KEY_PATH=str(new_file))
    for name, value in account.environ.items():
        monkeypatch.setenv(name, value)
    refused = CliRunner().invoke(cli.app, ["doctor"])
    assert refused.exit_code == 1
    assert account.fingerprint in refused.output
